"""The data sets that have a name of their own, and what they hold: it can be shown before anything is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import emoji, scenes

IMAGE_SIZES = range(8, 513)  # sides, in pixels, at which pictures that are decoded from files come


@dataclass(frozen=True)
class DatasetSpec:
    """What a data set holds. `class_names[label]` says what a label means."""

    name: str
    tasks: tuple[str, ...]  # "classification", "generation" or both
    class_names: tuple[str, ...]
    default_size: int
    split_sizes: dict[str, int]  # images in "train", "validation" and "test"
    description: str
    attribution: str
    image_sizes: Sequence[int] = IMAGE_SIZES  # sides that load_split gives, in pixels
    render_scale: int = 1  # side of the images in a Split, over the image size: 2 where augmentation rotates them
    license: str = "other"  # of the pictures, as model cards write it
    notes: tuple[str, ...] = ()  # sentences about what was found and how it is taken, see `Source.notes`

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def augmentation(self, task: str) -> str:
        """The kind of `augment` that training for a task uses on these pictures."""
        if self.render_scale > 1:
            return "affine"
        return "flip-shift" if task == "classification" else "flip"


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_STL10 = "airplane bird car cat deer dog horse monkey ship truck"
_IMAGENETTE = (
    *("English springer", "French horn", "cassette player", "chain saw", "church", "garbage truck", "gas pump"),
    *("golf ball", "parachute", "tench"),
)
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm"""
_FACE_NAMES = tuple(emoji.parse_table(emoji.FACES).values())
_FOOD_NAMES = tuple(emoji.parse_table(emoji.FOOD).values())
_CLUTTER_NAMES = tuple(emoji.parse_table(scenes.CLASSES).values())
_CLASSES, _PICTURES, _BOTH = ("classification",), ("generation",), ("classification", "generation")
_EMOJI = {"attribution": emoji.ATTRIBUTION, "image_sizes": (32, 64), "license": "cc-by-sa-4.0"}


def _sizes(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


# fmt: off
_TABLE = (
    DatasetSpec("emoji-clutter", _CLASSES, _CLUTTER_NAMES, 64, _sizes(12_000, 2_000, 2_000),
        "Which of 50 emoji stands in the scene, over a cluttered background and other emoji? Every scene is drawn from "
        "the seed of its split and number; classes are equally frequent.", **_EMOJI),
    DatasetSpec("emoji-faces", _PICTURES, _FACE_NAMES, 32, _sizes(105, 12, 12),
        "129 smileys on white, for diffusion. Each face is one drawing and stands in one split only, so validation and "
        "test hold faces that training never saw; affine augmentation makes the variety.", render_scale=2, **_EMOJI),
    DatasetSpec("emoji-food", _PICTURES, _FOOD_NAMES, 32, _sizes(100, 12, 12),
        "124 kinds of fruit, vegetables, dishes, sweets and drinks on white, for diffusion: richer in colours and "
        "outlines than the smileys. Each is one drawing and stands in one split only.", render_scale=2, **_EMOJI),
    DatasetSpec("emoji-identity", _CLASSES, (*_FACE_NAMES, *(f"{name}, spoilt" for name in _FACE_NAMES)), 32,
        _sizes(24 * 258, 2 * 258, 2 * 258),
        "Which of the 129 smileys is it, and does it carry a faint texture? Every picture is one of them, turned, "
        "scaled, shifted and mirrored a little; half have noise, stripes or chequers over them. A network that tells "
        "them apart has to see single pixels.", **_EMOJI),
    DatasetSpec("cifar10", _BOTH, tuple(_CIFAR10.split()), 32, _sizes(45_000, 5_000, 10_000),
        "Photographs of ten kinds of things, 32 px; 170 MB to download. Validation comes out of train.",
        "CIFAR-10, Krizhevsky (2009)"),
    DatasetSpec("cifar100", _BOTH, tuple(_CIFAR100.split()), 32, _sizes(45_000, 5_000, 10_000),
        "Photographs of a hundred kinds of things, 32 px; 170 MB to download. Validation comes out of train.",
        "CIFAR-100, Krizhevsky (2009)"),
    DatasetSpec("stl10", _BOTH, tuple(_STL10.split()), 96, _sizes(4_500, 500, 8_000),
        "Photographs of ten kinds of things, 96 px; 2.6 GB to download. The paper trains on it at 128 px. Validation "
        "comes out of train.", "STL-10, Coates, Ng and Lee (2011)"),
    DatasetSpec("imagenette", _CLASSES, _IMAGENETTE, 64, _sizes(8_522, 947, 3_925),
        "Photographs of ten kinds of things out of ImageNet, at least 160 px; 95 MB to download. Validation comes out "
        "of train; what its authors call validation is tested on.",
        "Imagenette 2, fast.ai; pictures of ImageNet, for non-commercial research only (image-net.org)"),
    DatasetSpec("celeba", _PICTURES, ("face",), 64, _sizes(162_770, 19_867, 19_962),
        "Photographs of faces, cut to the middle square, for diffusion; 1.4 GB to download.",
        "CelebA, Liu, Luo, Wang and Tang (2015), for non-commercial research"),
)
# fmt: on
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _TABLE}
