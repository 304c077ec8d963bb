"""Scenes of emoji-clutter: one of 50 emoji on a cluttered background, drawn from (split, index) alone.

How hard the pictures are is set by `SCENES`, in one place. Change `DRAWING` whenever a change of this code changes the
pictures; the cache is keyed by both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from ..common.cache import fingerprint
from . import emoji

DRAWING = "1"  # version of the drawing code
SIDE = 64  # of a scene, in pixels
SPRITE_SIDES = (8, 12, 16, 24, 32, 48, 64)  # emoji are scaled down to these once, and from there to what is needed

# Chosen by eye at 64 pixels: no two alike in both shape and colour.
CLASSES = """
1F415 dog | 1F416 pig | 1F418 elephant | 1F984 unicorn | 1F98A fox | 1F43C panda | 1F427 penguin | 1F989 owl
1F9A9 flamingo | 1F99A peacock | 1F438 frog | 1F422 turtle | 1F40C snail | 1F98B butterfly | 1F41D bee | 1F41E ladybird
1F577 spider | 1F419 octopus | 1F980 crab | 1F420 tropical fish
1F335 cactus | 1F344 mushroom | 1F347 grapes | 1F349 watermelon | 1F34D pineapple | 1F353 strawberry | 1F951 avocado
1F955 carrot | 1F968 pretzel | 1F354 hamburger | 1F355 pizza | 1F369 doughnut | 1F9C1 cupcake
1F682 locomotive | 1F69C tractor | 1F6B2 bicycle | 1F681 helicopter | 1F680 rocket | 26F5 sailing boat | 1F691 ambulance
1F381 gift | 1F3C6 trophy | 26BD football | 1F3B8 guitar | 1F4F7 camera | 2702 scissors | 2602 umbrella
1F9F8 teddy bear | 26C4 snowman | 1F308 rainbow
"""

# Clutter: other emoji, none of them easily taken for one of the classes.
CLUTTER = """
1F404 1F411 1F42A 1F43F 1F987 1F414 1F99C 1F40A 1F98E 1F40D 1F996 1F433 1F988 1F41B 1F41C 1F43A 1F339 1F33B 1F332 1F334
1F340 1F341 1F34B 1F34C 1F34E 1F352 1F346 1F33D 1F336 1F966 1F950 1F9C0 1F35F 1F32E 1F373 1F37F 1F363 1F36D 2615 1F377
1F37A 1F3E0 1F3F0 1F6F8 2693 1F6A6 231A 23F0 1F388 1F3C8 1F3B3 1F3AF 1F3B2 1F9E9 1F451 1F453 1F455 1F456 1F457 1F460
1F392 1F48E 1F3B9 1F3BA 1F941 1F4FA 1F4DE 1F4A1 1F4D5 1F4E6 1F511 1F528 1F50D 1F9F2 1F9EA 1FA9C 1F6AA 1FA91 1F9F9 2B50
1F319 2600 26A1 1F525 1F4A7 2764 1F512 1F514 1F58C 1F9ED 23F3 1F50B 1FA81 1F3A8 1F9E2 1F97E
"""


@dataclass(frozen=True)
class SceneSettings:
    """What makes scenes hard. Sizes are sides of an emoji's frame over the side of the scene; ranges are inclusive."""

    target_size: tuple[float, float] = (0.42, 0.8)
    target_rotation: float = 40.0  # degrees, either way
    target_overhang: float = 0.12  # part of the target's frame that may leave the scene
    shapes: tuple[int, int] = (4, 10)  # plain shapes, behind all emoji
    behind: tuple[int, int] = (3, 7)  # other emoji behind the target
    behind_size: tuple[float, float] = (0.2, 0.42)
    in_front: tuple[int, int] = (0, 2)  # other emoji over the target or beside it
    in_front_size: tuple[float, float] = (0.12, 0.24)
    hue: float = 30.0  # degrees that an emoji's hue turns, either way
    saturation: tuple[float, float] = (0.5, 1.3)
    brightness: tuple[float, float] = (0.6, 1.25)
    texture: float = 40.0  # strength of the background's soft noise, of 255
    grain: float = 8.0  # largest standard deviation of the pixel noise, of 255


SCENES = SceneSettings()
SEED = 20240603  # of all scenes
SPLIT_SEEDS = {"train": 0, "validation": 1, "test": 2}


def cache_key() -> str:
    """Names the pictures that this code and these settings draw."""
    return f"v{DRAWING}-{fingerprint(SIDE, SEED, CLASSES, CLUTTER, SCENES)}"


def scene_labels(split: str, count: int) -> np.ndarray:
    """Labels of the first `count` scenes of a split, int64; every 50 in a row hold each class once."""
    classes = len(emoji.parse_table(CLASSES))
    blocks = range(math.ceil(count / classes))
    orders = [np.random.default_rng([SEED, SPLIT_SEEDS[split], block]).permutation(classes) for block in blocks]
    return np.concatenate(orders)[:count]


def draw_scenes(split: str, start: int, stop: int) -> np.ndarray:
    """Scenes start .. stop - 1 of a split: uint8 (stop - start, 3, 64, 64); about 3 ms each on one core."""
    labels = scene_labels(split, stop)
    scenes = np.empty((stop - start, 3, SIDE, SIDE), np.uint8)
    for index in range(start, stop):
        rng = np.random.default_rng([SEED, SPLIT_SEEDS[split], index, 1])  # the 1 parts scenes from label orders
        scenes[index - start] = draw_scene(int(labels[index]), rng)
    return scenes


def draw_scene(label: int, rng: np.random.Generator, settings: SceneSettings = SCENES) -> np.ndarray:
    """One scene with the emoji of class `label` in it: uint8 (3, 64, 64)."""
    scene = _background(rng, settings)
    scene = _with_shapes(scene, rng, _whole(rng, settings.shapes))
    for _ in range(_whole(rng, settings.behind)):
        _place_clutter(scene, rng, settings, settings.behind_size)
    size = rng.uniform(*settings.target_size)
    _place(scene, _codes()[0][label], rng, settings, size, settings.target_rotation, settings.target_overhang)
    for _ in range(_whole(rng, settings.in_front)):
        _place_clutter(scene, rng, settings, settings.in_front_size)
    pixels = np.asarray(scene, np.float32)
    pixels = pixels + rng.uniform(0, settings.grain) * rng.standard_normal(pixels.shape, np.float32)
    return np.rint(pixels).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


@cache
def _codes() -> tuple[list[str], list[str]]:
    """Code points of the classes, in the order of their labels, and of the clutter."""
    return list(emoji.parse_table(CLASSES)), CLUTTER.split()


def _whole(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(*bounds, endpoint=True))


def _background(rng: np.random.Generator, settings: SceneSettings) -> Image.Image:
    """A gradient between two colours, straight or round, with soft noise over it."""
    first, second = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    line = np.linspace(-1, 1, SIDE, dtype=np.float32)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        amount = (math.cos(angle) * line[None, :] + math.sin(angle) * line[:, None]) / 2.83 + 0.5
    else:
        x, y = rng.uniform(-1, 1, 2).astype(np.float32)
        amount = np.hypot(line[None, :] - x, line[:, None] - y) / 2.83
    cells = int(rng.integers(3, 17))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
    noise = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1
    pixels = first + (second - first) * amount[:, :, None] + rng.uniform(0, settings.texture) * noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _with_shapes(scene: Image.Image, rng: np.random.Generator, count: int) -> Image.Image:
    """The scene under ellipses, triangles, four-sided shapes and lines of any colour, more or less transparent.

    They are drawn at twice the size, because PIL draws them without smooth edges.
    """
    large = 2 * SIDE
    canvas = scene.resize((large, large), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(count):
        color = (*rng.integers(0, 256, 3).tolist(), int(rng.integers(90, 256)))
        reach = rng.uniform(0.05, 0.3)
        corners = large * (rng.uniform(0, 1, 2) + reach * rng.uniform(-1, 1, (4, 2)))
        kind = int(rng.integers(4))
        if kind == 0:
            draw.ellipse([*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()], fill=color)
        elif kind == 1:
            draw.line(corners[:3].ravel().tolist(), fill=color, width=int(rng.integers(1, 8)))
        else:
            draw.polygon(corners[: kind + 1].ravel().tolist(), fill=color)
    return canvas.reduce(2)


def _place_clutter(
    scene: Image.Image, rng: np.random.Generator, settings: SceneSettings, sizes: tuple[float, float]
) -> None:
    codes = _codes()[1]
    code = codes[int(rng.integers(len(codes)))]
    _place(scene, code, rng, settings, rng.uniform(*sizes), rotation=180.0, overhang=0.5)


def _place(
    scene: Image.Image,
    code: str,
    rng: np.random.Generator,
    settings: SceneSettings,
    size: float,
    rotation: float,
    overhang: float,
) -> None:
    """Draw an emoji, turned, mirrored and recoloured at random, its frame out of the scene by at most `overhang`."""
    side = round(size * SIDE)
    sprite = _sprite(code, next(level for level in SPRITE_SIDES if level >= side))
    angle = math.radians(rng.uniform(-rotation, rotation))
    zoom = sprite.width / side
    mirror = zoom if rng.random() < 0.5 else -zoom
    a, b = mirror * math.cos(angle), mirror * math.sin(angle)
    d, e = -zoom * math.sin(angle), zoom * math.cos(angle)
    middle, half = sprite.width / 2, side / 2
    matrix = (a, b, middle - half * (a + b), d, e, middle - half * (d + e))  # result -> sprite, about their middles
    sprite = sprite.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    colored = sprite.convert("RGB").convert("RGB", _color_matrix(rng, settings))
    low, high = -overhang * side, SIDE - (1 - overhang) * side
    place = (round(rng.uniform(low, high)), round(rng.uniform(low, high)))
    scene.paste(colored, place, sprite.getchannel("A"))


@cache
def _sprite(code: str, side: int) -> Image.Image:
    """One emoji as RGBA of a side in SPRITE_SIDES; a few megabytes for all."""
    largest = SPRITE_SIDES[-1]
    if side == largest:
        return emoji.render(code, 2 * largest).reduce(2)
    return _sprite(code, largest).resize((side, side), Image.Resampling.LANCZOS)


def _color_matrix(rng: np.random.Generator, settings: SceneSettings) -> tuple[float, ...]:
    """A 3 x 4 matrix on RGB: a turn of hue about the grey axis, then saturation, then brightness."""
    angle = math.radians(rng.uniform(-settings.hue, settings.hue))
    saturation, brightness = rng.uniform(*settings.saturation), rng.uniform(*settings.brightness)
    cos, sin = math.cos(angle), math.sin(angle) / math.sqrt(3)
    same = brightness * (1 + saturation * 2 * cos) / 3  # from a channel to itself, ...
    ahead = brightness * (1 - saturation * (cos - 3 * sin)) / 3  # ... and to its two neighbours
    behind = brightness * (1 - saturation * (cos + 3 * sin)) / 3
    return (same, behind, ahead, 0, ahead, same, behind, 0, behind, ahead, same, 0)
