"""Ready-made runs: what the command line and the page offer to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .config import DistillConfig
from .red import REDConfig
from .student import StudentConfig

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
# KD at temperature 4 is 16 times its KL divergence; at weight 1 it drowns the other losses.
FROM_TEACHER = {"teacher_checkpoint": CLUTTER_TEACHER, "init": "teacher", "red_weight": 1.0, "kd_weight": 0.05}


@dataclass(frozen=True)
class Preset:
    """A named run with a sentence about it."""

    name: str
    title: str
    description: str
    config: DistillConfig


def _clutter(strides: Mapping[str, int] | None = None, red: REDConfig | None = None, **settings) -> DistillConfig:
    student = StudentConfig("narrow_resnet", image_size=64, num_classes=50, strides=strides or {}, red=red)
    return DistillConfig(student=student, dataset="emoji-clutter", **settings)


def _faces(strides: Mapping[str, int] | None = None, red: REDConfig | None = None, **settings) -> DistillConfig:
    student = StudentConfig("unet_small", image_size=32, strides=strides or {}, red=red)
    common = {"batch_size": 16, "learning_rate": 2e-3, "ema_decay": 0.995, "schedule": "cosine", "warmup_steps": 100}
    common |= {"weight_decay": 0.0, "distance": "mse", "validate_every": 250, "save_every": 100}
    return DistillConfig(student=student, dataset="emoji-faces", **(common | settings))


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
        "The same, twice as long",
        "Fourteen epochs: the student that ships, and the schedule of the accuracy study; about 8 minutes on 2 cores.",
        _clutter(CLUTTER_STRIDES, REDConfig(), **FROM_TEACHER),
    ),
    Preset(
        "quick",
        "Quick look",
        "The same with 3,000 scenes and few steps: the curves move within seconds, the accuracy stays low.",
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
        "undistilled",
        "Student without distillation",
        "The same student trained on the pictures alone, without RED blocks: what distillation has to beat.",
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
        "A U-Net with a quarter of the activation memory learns to draw from its full-resolution teacher.",
        _faces(
            FACES_STRIDES, REDConfig(), teacher_checkpoint=FACES_TEACHER, init="teacher", red_weight=1.0, steps=2000
        ),
    ),
    Preset(
        "faces-teacher",
        "Diffusion teacher of the smileys",
        "The small U-Net at full resolution, trained from scratch; about an hour of CPU.",
        _faces(steps=3000),
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError, naming them all, where there is none."""
    if name not in PRESETS:
        raise ValueError(f"No preset {name!r}; expected one of {list(PRESETS)}.")
    return PRESETS[name]
