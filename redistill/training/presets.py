"""Ready-made runs: what the command line and the page offer to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..networks.red import REDConfig
from ..networks.student import StudentConfig
from .config import DistillConfig

# The students that ship: a large stride at the stem, none where the teacher pools late.
CLUTTER_STRIDES: Mapping[str, int] = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
FACES_STRIDES: Mapping[str, int] = {
    "conv_in": 2,
    "down_blocks.0.downsamplers.0": 2,
    "down_blocks.1.downsamplers.0": 2,
    "down_blocks.2.downsamplers.0": 1,
}
CLUTTER_TEACHER = "emoji-clutter-teacher"
FACES_TEACHER = "emoji-faces-teacher"
FOOD_TEACHER = "emoji-food-teacher"
# The paper's MobileNetV2 of an early stride 4 (stem and stages 1,1222121 → 4,1221111), from torchvision's own strides.
MOBILENET_STRIDES: Mapping[str, int] = {"features.0.0": 4, "features.7.conv.1.0": 1, "features.14.conv.1.0": 1}
# KD at temperature 4 is 16 times its KL divergence; at weight 1 it drowns the other losses.
FROM_TEACHER = {"teacher_checkpoint": CLUTTER_TEACHER, "init": "teacher", "red_weight": 1.0, "kd_weight": 0.2}
FROM_FACES = {"teacher_checkpoint": FACES_TEACHER, "init": "teacher", "steps": 2000}
FROM_FOOD = FROM_FACES | {"teacher_checkpoint": FOOD_TEACHER, "dataset": "emoji-food"}


@dataclass(frozen=True)
class Preset:
    """A named run with a sentence about it."""

    name: str
    title: str
    description: str
    config: DistillConfig
    is_paper: bool = False  # settings of ReDistill (arXiv 2406.03744), for data that has to be downloaded


def _clutter(
    strides: Mapping[str, int] | None = None,
    red: REDConfig | None = None,
    alignment: str = StudentConfig.alignment,
    **settings,
) -> DistillConfig:
    student = StudentConfig("narrow_resnet", 64, num_classes=50, strides=strides or {}, red=red, alignment=alignment)
    return DistillConfig(student=student, dataset="emoji-clutter", **settings)


def _drawing(strides: Mapping[str, int] | None = None, red: REDConfig | None = None, **settings) -> DistillConfig:
    student = StudentConfig("unet_small", image_size=32, strides=strides or {}, red=red)
    common = {"batch_size": 16, "learning_rate": 2e-3, "ema_decay": 0.995, "schedule": "cosine", "warmup_steps": 100}
    common |= {"weight_decay": 0.0, "distance": "mse", "validate_every": 250, "save_every": 100}
    return DistillConfig(student=student, **({"dataset": "emoji-faces"} | common | settings))


_PRESETS = (
    Preset(
        "default",
        "Distil with RED and KD",
        "The stride-4 student of emoji-clutter learns from its teacher's maps and answers in seven epochs; under 5 "
        "minutes on 2 cores.",
        _clutter(CLUTTER_STRIDES, REDConfig(), **FROM_TEACHER, steps=660),
    ),
    Preset(
        "long",
        "RED and KD, twice as long",
        "Fourteen epochs: the schedule of the accuracy study; about 8 minutes on 2 cores.",
        _clutter(CLUTTER_STRIDES, REDConfig(), **FROM_TEACHER),
    ),
    Preset(
        "best",
        "RED and KD at every layer",
        "RED blocks at all nine places instead of five, at no cost to the peak, and smaller batches: the best "
        "setting of the accuracy study, whose student ships; about 8 minutes on 2 cores.",
        _clutter(
            CLUTTER_STRIDES,
            REDConfig(),
            alignment="stage-wise",
            **FROM_TEACHER,
            steps=2640,
            batch_size=64,
            validate_every=220,
            save_every=220,
        ),
    ),
    Preset(
        "quick",
        "Quick look",
        "A student with a fifth of its teacher's memory learns from it on 3,000 scenes, in few steps: the curves move "
        "within seconds, the accuracy stays low.",
        _clutter(
            CLUTTER_STRIDES,
            REDConfig(),
            **FROM_TEACHER,
            train_limit=3000,
            steps=120,
            validate_every=20,
            save_every=40,
        ),
    ),
    Preset(
        "mobilenet",
        "MobileNetV2 from a ResNet",
        "Teacher and student of different families: MobileNetV2 with an early stride of 4 learns emoji-clutter from "
        "the narrow ResNet, its RED blocks where their maps have one size; about 12 minutes on 2 cores.",
        DistillConfig(
            student=StudentConfig(
                "narrow_resnet", 64, num_classes=50, strides=MOBILENET_STRIDES, architecture="mobilenet_v2"
            ),
            dataset="emoji-clutter",
            **(FROM_TEACHER | {"init": "scratch"}),
            steps=660,
        ),
    ),
    Preset(
        "undistilled",
        "Student without distillation",
        "The stride-4 student of emoji-clutter trained on the pictures alone, without RED blocks: what distillation "
        "has to beat.",
        _clutter(CLUTTER_STRIDES),
    ),
    Preset(
        "teacher",
        "Teacher of emoji-clutter",
        "The narrow ResNet at its own strides, trained from scratch.",
        _clutter(),
    ),
    Preset(
        "faces",
        "Diffusion student of the smileys",
        "A U-Net with a quarter of the activation memory learns to draw from its full-resolution teacher's maps.",
        _drawing(FACES_STRIDES, REDConfig(), **FROM_FACES, red_weight=1.0),
    ),
    Preset(
        "faces-both",
        "Diffusion student, from maps and output",
        "The student of the smileys learns from its teacher's maps, and its output is compared with the teacher's.",
        _drawing(FACES_STRIDES, REDConfig(), **FROM_FACES, red_weight=1.0, kd_weight=1.0),
    ),
    Preset(
        "faces-alone",
        "Diffusion student without distillation",
        "The student of the smileys at its strides, from its teacher's weights; no RED blocks, nothing learnt from the "
        "teacher: what distillation has to beat.",
        _drawing(FACES_STRIDES, **FROM_FACES, red_weight=0.0),
    ),
    Preset(
        "faces-teacher",
        "Diffusion teacher of the smileys",
        "The small U-Net at full resolution, trained from scratch; under an hour of CPU.",
        _drawing(steps=3000),
    ),
    Preset(
        "faces-teacher-long",
        "Diffusion teacher, trained on",
        "Goes on from what the diffusion teacher's run leaves in runs/ (here: from the teacher that ships, its "
        "result); an hour of CPU.",
        _drawing(
            teacher_checkpoint="runs/faces-teacher-0/student",
            init="teacher",
            red_weight=0.0,
            steps=5000,
            learning_rate=1.5e-3,
            ema_decay=0.998,
            validate_every=500,
        ),
    ),
    Preset(
        "food",
        "Diffusion student of the food",
        "Fruit, dishes, sweets and drinks in place of smileys, in a quarter of the teacher's activation memory; learns "
        "from its teacher's maps and output.",
        _drawing(FACES_STRIDES, REDConfig(), **FROM_FOOD, red_weight=1.0, kd_weight=1.0),
    ),
    Preset(
        "faces-features",
        "Features of the smileys",
        "The narrow ResNet, at twice its usual resolution, tells 129 smileys apart, spoilt ones from clean ones too: "
        "pictures of emoji are judged by its features. About three minutes of CPU.",
        DistillConfig(
            student=StudentConfig("narrow_resnet", 32, num_classes=258, strides={"maxpool": 1}, red=None),
            dataset="emoji-identity",
            steps=600,
            batch_size=64,
            validate_every=100,
        ),
    ),
)

# ReDistill's own strides: ResNets conv1, maxpool, layer1..4 = 8,1,1,2,2,1; DDPM U-Nets 2,2,2,1.
PAPER_RESNET_STRIDES: Mapping[str, int] = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
STL10_EPOCH = 4500 // 8  # steps of 8 images in an epoch: 500 of the 5,000 pictures are kept for validation
IMAGENET_EPOCH = 1_281_167 // 256


def _trained(preset: str) -> str:
    """Where `python -m redistill train --preset PRESET` leaves the teacher."""
    return f"runs/{preset}-0/student"


def _stl10(strides: Mapping[str, int] | None = None, red: REDConfig | None = None, **settings) -> DistillConfig:
    student = StudentConfig("resnet18", image_size=128, num_classes=10, strides=strides or {}, red=red)
    common = {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4, "schedule": "cosine", "batch_size": 8}
    common |= {"steps": 300 * STL10_EPOCH, "validate_every": STL10_EPOCH, "save_every": STL10_EPOCH}
    return DistillConfig(student=student, dataset="stl10", **(common | settings))


def _ddpm(dataset: str, size: int, strides: Mapping[str, int] | None, red: REDConfig | None, **settings):
    student = StudentConfig("unet_paper", image_size=size, strides=strides or {}, red=red)
    common = {"distance": "mse", "prediction_type": "epsilon", "learning_rate": 2e-4, "weight_decay": 0.0}
    common |= {"schedule": "constant", "warmup_steps": 5000, "ema_decay": 0.9999, "steps": 400_000}
    common |= {"validate_every": 5000, "save_every": 2000}
    return DistillConfig(student=student, dataset=dataset, **(common | settings))


_PAPER = (
    Preset(
        "stl10-teacher",
        "STL-10: the teacher",
        "ResNet-18 at 128 px, SGD, 300 epochs, batch 8, as in the paper; rate and schedule are ours. Downloads 2.6 GB; "
        "hours on a GPU.",
        _stl10(),
        is_paper=True,
    ),
    Preset(
        "stl10",
        "STL-10: RED",
        "The paper's loss, 0.5 × cross entropy + 0.5 × the mean of 50 × cosine, for ResNet-18 at strides 8·1·1·2·2·1. "
        "Needs the STL-10 teacher, trained first.",
        _stl10(
            PAPER_RESNET_STRIDES,
            REDConfig(),
            task_weight=0.5,
            red_weight=25.0,
            teacher_checkpoint=_trained("stl10-teacher"),
        ),
        is_paper=True,
    ),
    Preset(
        "imagenet",
        "ImageNet: RED",
        "ResNet-50 from torchvision's, cosine at weight 1 as in the paper, 90 epochs of torchvision's recipe. Needs "
        "an account at huggingface.co that may read ImageNet, and days on a GPU.",
        DistillConfig(
            student=StudentConfig("resnet50", 224, num_classes=1000, strides=PAPER_RESNET_STRIDES, red=REDConfig()),
            dataset="hub:ILSVRC/imagenet-1k",
            teacher_checkpoint="torchvision:resnet50",
            init="teacher",
            optimizer="sgd",
            learning_rate=0.1,
            weight_decay=1e-4,
            schedule="step",
            milestones=(30 * IMAGENET_EPOCH, 60 * IMAGENET_EPOCH, 80 * IMAGENET_EPOCH),
            batch_size=256,
            steps=90 * IMAGENET_EPOCH,
            validate_every=IMAGENET_EPOCH,
            save_every=IMAGENET_EPOCH // 4,
        ),
        is_paper=True,
    ),
    Preset(
        "cifar10-ddpm-teacher",
        "CIFAR-10 DDPM: the teacher",
        "The paper's U-Net at 32 px on noise prediction, with DDPM's batch, rate and EMA. Downloads 170 MB; a day on a "
        "GPU.",
        _ddpm("cifar10", 32, None, None),
        is_paper=True,
    ),
    Preset(
        "cifar10-ddpm",
        "CIFAR-10 DDPM: RED",
        "The U-Net at strides 2·2·2·1 with ten RED blocks; mean squared error at weight 1 (the paper uses 1 or 50). "
        "Needs its teacher, trained first.",
        _ddpm("cifar10", 32, FACES_STRIDES, REDConfig(), teacher_checkpoint=_trained("cifar10-ddpm-teacher")),
        is_paper=True,
    ),
    Preset(
        "celeba-ddpm-teacher",
        "CelebA DDPM: the teacher",
        "The paper's U-Net at 64 px. Downloads 1.4 GB; days on a GPU.",
        _ddpm("celeba", 64, None, None, batch_size=64),
        is_paper=True,
    ),
    Preset(
        "celeba-ddpm",
        "CelebA DDPM: RED",
        "The U-Net at strides 2·2·2·1 with ten RED blocks; mean squared error at weight 1 (the paper uses 1 or 50). "
        "Needs its teacher, trained first.",
        _ddpm(
            "celeba",
            64,
            FACES_STRIDES,
            REDConfig(),
            batch_size=64,
            teacher_checkpoint=_trained("celeba-ddpm-teacher"),
        ),
        is_paper=True,
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_PRESETS, *_PAPER)}


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError, naming them all, where there is none."""
    if name not in PRESETS:
        raise ValueError(f"No preset {name!r}; expected one of {list(PRESETS)}.")
    return PRESETS[name]
