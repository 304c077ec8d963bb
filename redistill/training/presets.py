"""Ready-made runs: what the command line and the page offer to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..networks.alignment import BY_PLACE
from ..networks.student import StudentConfig
from .config import DistillConfig

# The students that ship: a large stride at the stem, none where the teacher pools late.
CLUTTER_STRIDES: Mapping[str, int] = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
FACES_STRIDES: Mapping[str, int] = {
    "conv_in": 2,
    **{f"down_blocks.{level}.downsamplers.0": stride for level, stride in enumerate((2, 2, 1))},
}
# ReDistill's own strides for ResNets: conv1, maxpool, layer1..4 = 8,1,1,2,2,1; for DDPM U-Nets those of the faces.
PAPER_RESNET_STRIDES: Mapping[str, int] = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
# The paper's MobileNetV2 of an early stride 4 (stem and stages 1,1222121 → 4,1221111), from torchvision's own strides.
MOBILENET_STRIDES: Mapping[str, int] = {"features.0.0": 4, "features.7.conv.1.0": 1, "features.14.conv.1.0": 1}

# Of the vectors that need 64 KiB on photographs, the one that keeps most accuracy: a late stride stays.
PHOTOS_STRIDES: Mapping[str, int] = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 1, "layer4.0": 2}

PHOTOS_TEACHER = "imagenette-teacher"
CLUTTER_TEACHER = "emoji-clutter-teacher"
FACES_TEACHER = "emoji-faces-teacher"
FOOD_TEACHER = "emoji-food-teacher"
CIFAR10_TEACHER = "cifar10-teacher"
CIFAR10_UNET_TEACHER = "cifar10-unet-teacher"
STL10_EPOCH = 4500 // 8  # steps of 8 images in an epoch: 500 of the 5,000 pictures are kept for validation
IMAGENET_EPOCH = 1_281_167 // 256


@dataclass(frozen=True)
class Preset:
    """A named run with a sentence about it."""

    name: str
    title: str
    description: str
    config: DistillConfig
    group: str = "embedded"  # its pictures ship; "photographs" and "paper", ReDistill's own settings, are downloaded


def _trained(preset: str) -> dict[str, Any]:
    """The teacher that `python -m redistill train --preset PRESET` leaves."""
    return {"teacher_checkpoint": f"runs/{preset}-0/student"}


def _bare(student: StudentConfig, **changes: Any) -> StudentConfig:
    return replace(student, red=None, **changes)


_CLUTTER = StudentConfig("narrow_resnet", 64, num_classes=50, strides=CLUTTER_STRIDES)
_FACES = StudentConfig("unet_small", 32, strides=FACES_STRIDES)
_STL10 = StudentConfig("resnet18", 128, num_classes=10, strides=PAPER_RESNET_STRIDES)
_PHOTOS = StudentConfig("narrow_resnet", 64, num_classes=10, strides=PHOTOS_STRIDES)
_PHOTOS_128 = StudentConfig("resnet18", 128, num_classes=10, strides=PAPER_RESNET_STRIDES)
_CIFAR10_STUDENT = StudentConfig(
    "narrow_resnet",
    32,
    num_classes=10,
    teacher_strides={"maxpool": 1},
    strides={"conv1": 2, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1},
)
_CIFAR10 = StudentConfig("unet_paper", 32, strides=FACES_STRIDES)
_CELEBA = replace(_CIFAR10, image_size=64)

# KD at temperature 4 is 16 times its KL divergence; at weight 1 it drowns the other losses.
FROM_TEACHER = {"teacher_checkpoint": CLUTTER_TEACHER, "init": "teacher", "red_weight": 1.0, "kd_weight": 0.2}
# What runs on the same pictures share.
_ON_CLUTTER = {"dataset": "emoji-clutter", "precision": "auto"}
_FROM_CLUTTER = _ON_CLUTTER | FROM_TEACHER
# fmt: off
_ON_FACES = {
    "dataset": "emoji-faces", "distance": "mse", "batch_size": 16, "learning_rate": 2e-3, "schedule": "cosine",
    "warmup_steps": 100, "weight_decay": 0.0, "ema_decay": 0.995, "validate_every": 250, "save_every": 100,
    "precision": "auto",
}
_FROM_FACES = _ON_FACES | {"teacher_checkpoint": FACES_TEACHER, "init": "teacher", "steps": 2000}
_FROM_FOOD = _FROM_FACES | {"teacher_checkpoint": FOOD_TEACHER, "dataset": "emoji-food"}
_ON_PHOTOS = {"dataset": "imagenette", "precision": "auto"}
_ON_SMALL_PHOTOS = {"dataset": "cifar10", "precision": "auto", "validate_every": 352, "save_every": 352}
_DRAWING_SMALL_PHOTOS = _ON_FACES | {
    "dataset": "cifar10", "batch_size": 32, "ema_decay": 0.998, "validate_every": 500, "save_every": 250,
}
_FROM_SMALL_PHOTOS = _DRAWING_SMALL_PHOTOS | {
    "teacher_checkpoint": CIFAR10_UNET_TEACHER, "init": "teacher", "steps": 2000,
}
_ON_STL10 = {
    "dataset": "stl10", "optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4, "schedule": "cosine",
    "batch_size": 8, "steps": 300 * STL10_EPOCH, "validate_every": STL10_EPOCH, "save_every": STL10_EPOCH,
}
_ON_IMAGENET = {
    "dataset": "hub:ILSVRC/imagenet-1k", "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4,
    "schedule": "step", "milestones": tuple(epoch * IMAGENET_EPOCH for epoch in (30, 60, 80)), "batch_size": 256,
    "steps": 90 * IMAGENET_EPOCH, "validate_every": IMAGENET_EPOCH, "save_every": IMAGENET_EPOCH // 4,
}
_ON_CIFAR10 = {
    "dataset": "cifar10", "distance": "mse", "prediction_type": "epsilon", "learning_rate": 2e-4, "weight_decay": 0.0,
    "schedule": "constant", "warmup_steps": 5000, "ema_decay": 0.9999, "steps": 400_000, "validate_every": 5000,
    "save_every": 2000,
}
_ON_CELEBA = _ON_CIFAR10 | {"dataset": "celeba", "batch_size": 64}

# By name: title, student, settings shared with other runs, settings that differ from those, and what to say of it.
_OURS = {
    "default": ("Distil with RED and KD", _CLUTTER, _FROM_CLUTTER, {"steps": 660},
        "The stride-4 student of emoji-clutter learns from its teacher's maps and answers in seven epochs; under 5 "
        "minutes on 2 cores."),
    "long": ("RED and KD, twice as long", _CLUTTER, _FROM_CLUTTER, {},
        "Fourteen epochs: the schedule of the accuracy study; about 8 minutes on 2 cores."),
    "best": ("RED and KD at every layer", replace(_CLUTTER, alignment=BY_PLACE), _FROM_CLUTTER,
        {"steps": 2640, "batch_size": 64, "validate_every": 220, "save_every": 220},
        "RED blocks at all nine places instead of five, at no cost to the peak, and smaller batches: the best "
        "setting of the accuracy study, whose student ships; about 8 minutes on 2 cores."),
    "any-strides": ("One network for every budget", _bare(_CLUTTER, strides={}),
        _FROM_CLUTTER, {"red_weight": 0.0, "stride_vectors": 2, "steps": 10_560, "batch_size": 64,
            "validate_every": 1056, "save_every": 528},
        "One set of weights for all choices of strides that reduce as much as the teacher's: two of them a step, with "
        "KD, on four times the scenes of a student alone. Explore then shows measured accuracy for any; an hour of "
        "one core that has bf16."),
    "any-best": ("One network for every budget, with RED",
        replace(_CLUTTER, strides=PHOTOS_STRIDES, alignment=BY_PLACE), _FROM_CLUTTER,
        {"stride_vectors": 2, "steps": 10_560, "batch_size": 64, "validate_every": 1056, "save_every": 528},
        "RED blocks at all nine places, which all choices of strides have in common, and their loss give back what "
        "little memory takes. An hour and a quarter of one core that has bf16."),
    "quick": ("Quick look", _CLUTTER, _FROM_CLUTTER,
        {"train_limit": 3000, "steps": 120, "validate_every": 20, "save_every": 40},
        "A student with a fifth of its teacher's memory learns from it on 3,000 scenes, in few steps: the curves move "
        "within seconds, the accuracy stays low."),
    "mobilenet": ("MobileNetV2 from a ResNet",
        replace(_CLUTTER, strides=MOBILENET_STRIDES, architecture="mobilenet_v2"),
        _FROM_CLUTTER, {"init": "scratch", "steps": 660},
        "Teacher and student of different families: MobileNetV2 with an early stride of 4 learns emoji-clutter from "
        "the narrow ResNet, its RED blocks where their maps have one size; about 12 minutes on 2 cores."),
    "undistilled": ("Student without distillation", _bare(_CLUTTER), _ON_CLUTTER, {},
        "The stride-4 student of emoji-clutter trained on the pictures alone, without RED blocks: what distillation "
        "has to beat."),
    "teacher": ("Teacher of emoji-clutter", _bare(_CLUTTER, strides={}), _ON_CLUTTER, {},
        "The narrow ResNet at its own strides, trained from scratch."),
    "faces": ("Diffusion student of the smileys", _FACES, _FROM_FACES, {},
        "A U-Net with a quarter of the activation memory learns to draw from its full-resolution teacher's maps."),
    "faces-both": ("Diffusion student, from maps and output", _FACES, _FROM_FACES, {"kd_weight": 1.0},
        "The student of the smileys learns from its teacher's maps, and its output is compared with the teacher's."),
    "faces-alone": ("Diffusion student without distillation", _bare(_FACES), _FROM_FACES, {"red_weight": 0.0},
        "The student of the smileys at its strides, from its teacher's weights; no RED blocks, nothing learnt from the "
        "teacher: what distillation has to beat."),
    "faces-teacher": ("Diffusion teacher of the smileys", _bare(_FACES, strides={}), _ON_FACES, {"steps": 3000},
        "The small U-Net at full resolution, trained from scratch; under an hour of CPU."),
    "faces-teacher-long": ("Diffusion teacher, trained on", _bare(_FACES, strides={}),
        _ON_FACES | _trained("faces-teacher"),
        {"init": "teacher", "red_weight": 0.0, "steps": 5000, "learning_rate": 1.5e-3, "ema_decay": 0.998,
         "validate_every": 500},
        "Goes on from what the diffusion teacher's run leaves in runs/ (here: from the teacher that ships, its "
        "result); an hour of CPU."),
    "food": ("Diffusion student of the food", _FACES, _FROM_FOOD, {"kd_weight": 1.0},
        "Fruit, dishes, sweets and drinks in place of smileys, in a quarter of the teacher's activation memory; learns "
        "from its teacher's maps and output."),
    "faces-features": ("Features of the smileys",
        StudentConfig("narrow_resnet", 32, num_classes=258, strides={"maxpool": 1}, red=None),
        {"dataset": "emoji-identity", "precision": "auto"}, {"steps": 600, "batch_size": 64, "validate_every": 100},
        "The narrow ResNet, at twice its usual resolution, tells 129 smileys apart, spoilt ones from clean ones too: "
        "pictures of emoji are judged by its features. About three minutes of CPU."),
}
_PHOTOGRAPHS = {
    "photos": ("Photographs: RED and KD", _PHOTOS, _ON_PHOTOS | FROM_TEACHER,
        {"teacher_checkpoint": PHOTOS_TEACHER, "steps": 900, "validate_every": 180, "save_every": 180},
        "A fifth of the teacher's peak on ten kinds of real photographs at 64 px, at the strides that keep most of the "
        "accuracy there: one late stride stays. Downloads 95 MB; minutes on 2 cores."),
    "photos-best": ("Photographs: RED and KD at every layer", replace(_PHOTOS, alignment=BY_PLACE),
        _ON_PHOTOS | FROM_TEACHER,
        {"teacher_checkpoint": PHOTOS_TEACHER, "steps": 1800, "batch_size": 64, "validate_every": 360,
         "save_every": 360},
        "RED blocks at all nine places, at no cost to the peak but a quarter more computation, and smaller batches: "
        "the best on validation pictures of all that was tried on as many. Downloads 95 MB; minutes on 2 cores."),
    "photos-any": ("Photographs: one network for every budget", _bare(_PHOTOS, strides={}), _ON_PHOTOS | FROM_TEACHER,
        {"teacher_checkpoint": PHOTOS_TEACHER, "red_weight": 0.0, "stride_vectors": 2, "stride_sampling": "front",
         "steps": 3600, "validate_every": 720, "save_every": 180},
        "One set of weights for all choices of strides, two of them a step and mostly of those that a budget would "
        "take, on four times the pictures of a student alone. Downloads 95 MB; over an hour on 2 cores."),
    "photos-any-best": ("Photographs: one network for every budget, with RED", replace(_PHOTOS, alignment=BY_PLACE),
        _ON_PHOTOS | FROM_TEACHER,
        {"teacher_checkpoint": PHOTOS_TEACHER, "stride_vectors": 2, "steps": 7200, "batch_size": 64,
         "validate_every": 1440, "save_every": 360},
        "RED blocks at all nine places, which all choices of strides have in common, and their loss, on four times the "
        "pictures of a student alone. Downloads 95 MB; an hour of one core that has bf16."),
    "photos-teacher": ("Photographs: a teacher", _bare(_PHOTOS, strides={}), _ON_PHOTOS,
        {"steps": 1500, "validate_every": 300, "save_every": 300},
        "The narrow ResNet at its own strides on ten kinds of real photographs at 64 px, from scratch. Downloads 95 "
        "MB; minutes on 2 cores."),
    "photos-128": ("Photographs at 128 px: RED and KD", _PHOTOS_128,
        _ON_PHOTOS | FROM_TEACHER | _trained("photos-128-teacher"), {"steps": 3000, "validate_every": 300},
        "ResNet-18 at the paper's strides on ten kinds of real photographs at 128 px, for a GPU (set the device). "
        "Needs its teacher, trained first."),
    "photos-128-teacher": ("Photographs at 128 px: the teacher", _bare(_PHOTOS_128, strides={}), _ON_PHOTOS,
        {"steps": 3000, "validate_every": 300},
        "ResNet-18 at its own strides on ten kinds of real photographs at 128 px, from scratch, for a GPU (set the "
        "device)."),
    "cifar10": ("CIFAR-10: RED and KD", _CIFAR10_STUDENT, _ON_SMALL_PHOTOS | FROM_TEACHER,
        {"teacher_checkpoint": CIFAR10_TEACHER, "steps": 1760},
        "The narrow ResNet with an early stride of 2 on CIFAR-10 at 32 px. Downloads 170 MB; minutes on 2 cores."),
    "cifar10-teacher": ("CIFAR-10: the teacher", _bare(_CIFAR10_STUDENT, strides={"maxpool": 1}), _ON_SMALL_PHOTOS,
        {"steps": 1760}, "The narrow ResNet without its max-pool, so that eight rows are left of CIFAR-10's 32; "
        "what diffusion networks of CIFAR-10 draw is judged by its features. Downloads 170 MB; minutes on 2 cores."),
    "cifar10-unet": ("CIFAR-10: a diffusion student", _FACES, _FROM_SMALL_PHOTOS, {},
        "The small U-Net with a quarter of the activation memory learns to draw CIFAR-10's pictures from its teacher's "
        "maps. Downloads 170 MB; about 15 minutes of CPU."),
    "cifar10-unet-both": ("CIFAR-10: a diffusion student, from maps and output", _FACES, _FROM_SMALL_PHOTOS,
        {"kd_weight": 1.0},
        "The small U-Net at a quarter of the activation memory learns CIFAR-10 from its teacher's maps, and its output "
        "is compared with the teacher's. Downloads 170 MB; about 15 minutes of CPU."),
    "cifar10-unet-alone": ("CIFAR-10: a diffusion student without distillation", _bare(_FACES), _FROM_SMALL_PHOTOS,
        {"red_weight": 0.0},
        "The small U-Net at a quarter of the activation memory, from its teacher's weights and CIFAR-10's pictures "
        "alone, without RED blocks: what distillation has to beat. Downloads 170 MB; under ten minutes of CPU."),
    "cifar10-unet-teacher": ("CIFAR-10: a diffusion teacher", _bare(_FACES, strides={}), _DRAWING_SMALL_PHOTOS,
        {"steps": 5000},
        "The small U-Net at full resolution on CIFAR-10, from scratch, for less than four epochs: what it draws has "
        "the colours and shapes of real ones, seldom their things. Downloads 170 MB; under an hour of CPU."),
}
_TEN_BLOCKS = (
    "The U-Net at strides 2·2·2·1 with ten RED blocks; mean squared error at weight 1 (the paper uses 1 or 50). "
    "Needs its teacher, trained first."
)
_PAPER = {
    "stl10-teacher": ("STL-10: the teacher", _bare(_STL10, strides={}), _ON_STL10, {},
        "ResNet-18 at 128 px, SGD, 300 epochs, batch 8, as in the paper; rate and schedule are ours. Downloads 2.6 GB; "
        "hours on a GPU."),
    "stl10": ("STL-10: RED", _STL10, _ON_STL10 | _trained("stl10-teacher"), {"task_weight": 0.5, "red_weight": 25.0},
        "The paper's loss, 0.5 × cross entropy + 0.5 × the mean of 50 × cosine, for ResNet-18 at strides 8·1·1·2·2·1. "
        "Needs the STL-10 teacher, trained first."),
    "imagenet": ("ImageNet: RED", StudentConfig("resnet50", 224, num_classes=1000, strides=PAPER_RESNET_STRIDES),
        _ON_IMAGENET, {"teacher_checkpoint": "torchvision:resnet50", "init": "teacher"},
        "ResNet-50 from torchvision's, cosine at weight 1 as in the paper, 90 epochs of torchvision's recipe. Needs "
        "an account at huggingface.co that may read ImageNet, and days on a GPU."),
    "cifar10-ddpm-teacher": ("CIFAR-10 DDPM: the teacher", _bare(_CIFAR10, strides={}), _ON_CIFAR10, {},
        "The paper's U-Net at 32 px on noise prediction, with DDPM's batch, rate and EMA. Downloads 170 MB; a day on a "
        "GPU."),
    "cifar10-ddpm": ("CIFAR-10 DDPM: RED", _CIFAR10, _ON_CIFAR10 | _trained("cifar10-ddpm-teacher"), {}, _TEN_BLOCKS),
    "celeba-ddpm-teacher": ("CelebA DDPM: the teacher", _bare(_CELEBA, strides={}), _ON_CELEBA, {},
        "The paper's U-Net at 64 px. Downloads 1.4 GB; days on a GPU."),
    "celeba-ddpm": ("CelebA DDPM: RED", _CELEBA, _ON_CELEBA | _trained("celeba-ddpm-teacher"), {}, _TEN_BLOCKS),
}
# fmt: on
PRESETS: dict[str, Preset] = {
    name: Preset(name, title, said, DistillConfig(student, **shared | own), group)
    for group, presets in (("embedded", _OURS), ("photographs", _PHOTOGRAPHS), ("paper", _PAPER))
    for name, (title, student, shared, own, said) in presets.items()
}


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError, naming them all, where there is none."""
    if name not in PRESETS:
        raise ValueError(f"No preset {name!r}; expected one of {list(PRESETS)}.")
    return PRESETS[name]
