"""The settings of a run: one frozen dataclass that the command line, the page and the run folder all read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..data.augmentation import AUGMENTATIONS
from ..data.datasets import check_name
from ..data.table import DATASETS, DatasetSpec
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM, PRETRAINED, check_pretrained, find_network
from .feature_losses import find_feature_loss
from .losses import DISTANCES

CHOICES = {
    "init": ("scratch", "teacher", "pretrained"),
    "distance": DISTANCES,
    "kd": ("kl", "dkd"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one-cycle", "cosine", "step", "constant"),
    "precision": ("fp32", "bf16"),
    "prediction_type": ("v_prediction", "epsilon"),
}


class SettingError(ValueError):
    """Settings of a run that do not fit, in one sentence; the names of their fields in it can be replaced.

    In the `sentence`, names of fields stand in braces, as do those of `texts`; `{value}` is the value at fault.
    """

    def __init__(self, sentence: str, value: Any = None, texts: Mapping[str, object] | None = None) -> None:
        super().__init__(sentence, value, texts)  # so that it is pickled whole
        self.sentence, self.value, self.texts = sentence, value, dict(texts or {})

    def __str__(self) -> str:
        return self.say()

    def say(self, labels: Mapping[str, str] | None = None, write: Callable[[Any], str] = repr) -> str:
        """The sentence with fields called as in `labels`, else as here, and the value written by `write`."""
        return self.sentence.format_map(_Names({**(labels or {}), **self.texts, "value": write(self.value)}))


class _Names(dict):
    def __missing__(self, name: str) -> str:
        return name


@dataclass(frozen=True)
class DistillConfig:
    """Every setting of a run. Raises ValueError, mostly a SettingError, for a value that cannot be trained with.

    Without `teacher_checkpoint` the network of `student` is trained on the task alone: that is how teachers and
    undistilled students are made.
    """

    student: StudentConfig  # what is trained
    dataset: str  # such as "emoji-clutter" (see dataset_table.py), "folder:PATH", "upload:NAME", "hub:OWNER/NAME"
    # folder of the trained teacher, "torchvision:NAME" for ImageNet's weights, or "ddpm:" and a folder or Hub id
    teacher_checkpoint: str | None = None
    init: str = "scratch"  # start from fresh weights, from the "teacher"'s, or from torchvision's, "pretrained"
    task_weight: float = 1.0  # of the task loss: cross entropy, or the error of the predicted noise or velocity
    red_weight: float = 1.0  # of the mean RED loss over aligned feature maps; 0 keeps the blocks and drops the loss
    distance: str = "cosine"  # of the RED loss: "cosine" or "mse"
    kd_weight: float = 0.0  # of distillation at the output: KD of logits, or the error of the teacher's prediction
    kd: str = "kl"  # of logits: "kl" (Hinton et al.) or "dkd" (decoupled, Zhao et al.)
    temperature: float = 4.0  # of KD and DKD
    dkd_alpha: float = 1.0  # DKD's weight of the true class against all others
    dkd_beta: float = 8.0  # DKD's weight of the other classes among themselves
    feature_loss: str | None = None  # one more loss between feature maps: "fitnet", "at", "sp", "rkd", "vid" or "pkt"
    feature_weight: float | None = None  # of that loss; None: as published
    prediction_type: str = "v_prediction"  # diffusion: the network predicts "v_prediction", or "epsilon", the noise
    steps: int = 1320  # optimizer steps
    batch_size: int = 128  # images a step
    optimizer: str = "adamw"  # "adamw", or "sgd" with momentum 0.9
    learning_rate: float = 3e-3  # at its highest
    weight_decay: float = 1e-2  # of the optimizer
    schedule: str = "one-cycle"  # "one-cycle"; after a warm-up "cosine", "step" or "constant"
    milestones: tuple[int, ...] = ()  # "step": steps after which the learning rate falls
    gamma: float = 0.1  # "step": what it is multiplied by at each milestone
    warmup_steps: int = 0  # of linear warm-up; "one-cycle" warms up for a quarter of the steps
    grad_clip: float = 1.0  # largest gradient norm; 0 clips nothing
    ema_decay: float = 0.0  # of the averaged copy that is validated and kept; 0 keeps the trained weights
    augmentation: str | None = None  # of training pictures: "flip-shift", "affine", "flip", "none"; None: the set's own
    mixup: float = 0.0  # α of mixup, which blends pictures and labels of two; 0 for none (see mixing.py)
    cutmix: float = 0.0  # α of CutMix, which cuts a part of another picture in; 0 for none
    precision: str = "fp32"  # of both networks while training: "fp32", or "bf16" (mixed; weights and losses stay fp32)
    freeze_batch_norm: bool = False  # train with the running statistics, of RED blocks too, and leave them as they are
    split_seed: int = 0  # of drawing validation (and test) pictures from train, where the data set has none of its own
    train_limit: int | None = None  # use only the first so many training images
    validate_every: int = 110  # steps between validations
    save_every: int = 110  # steps between resume points
    seed: int = 0  # of fresh weights, batches, augmentation and noise
    device: str = "cpu"  # "cpu", "cuda", "cuda:1", ...

    def __post_init__(self) -> None:
        if isinstance(self.student, Mapping):
            object.__setattr__(self, "student", StudentConfig.from_dict(self.student))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise _not_expected(name, getattr(self, name), f"one of {list(choices)}")
        if not isinstance(self.freeze_batch_norm, bool):
            raise _not_expected("freeze_batch_norm", self.freeze_batch_norm, "true or false")
        for name in ("steps", "batch_size", "validate_every", "save_every", "train_limit"):
            value = getattr(self, name)
            if value is None and name == "train_limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise _not_expected(name, value, "a whole number of at least 1")
        weights = ("task_weight", "red_weight", "kd_weight", "dkd_alpha", "dkd_beta", "weight_decay")
        for name in (*weights, "grad_clip", "mixup", "cutmix"):
            _check_number(name, getattr(self, name), low=0)
        if self.feature_weight is not None:
            _check_number("feature_weight", self.feature_weight, low=0, exclusive=True)
        for name in ("seed", "split_seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
                raise _not_expected(name, value, f"a whole number from 0 to {2**31 - 1}")
        for name in ("learning_rate", "temperature", "gamma"):
            _check_number(name, getattr(self, name), low=0, exclusive=True)
        for name in ("warmup_steps", "ema_decay"):
            _check_number(name, getattr(self, name), low=0)
        if not self.ema_decay < 1:
            raise _not_expected("ema_decay", self.ema_decay, "a number from 0 up to, not including, 1")
        self._check_milestones()
        if self.feature_loss is not None:
            find_feature_loss(self.feature_loss)
        if self.teacher_checkpoint is None and (self.init == "teacher" or self.kd_weight > 0 or self.feature_loss):
            raise ValueError(
                "Starting from the teacher, KD and feature losses need a teacher; give its checkpoint folder."
            )
        if self.init == "pretrained":
            check_pretrained(self.student.student_architecture)
        if self.augmentation not in (None, *AUGMENTATIONS):
            raise _not_expected("augmentation", self.augmentation, f"one of {list(AUGMENTATIONS)}, or none")
        if (self.mixup or self.cutmix) and (self.student.task != "classification" or self.kd == "dkd"):
            raise SettingError(
                "{mixup} and {cutmix} blend class labels; expected 0 with a diffusion network, and with DKD."
            )
        if self.kd == "dkd" and self.student.task != "classification":
            raise SettingError("DKD takes class labels apart; with a diffusion network, set {kd} to {value}.", "kl")
        check_name(self.dataset)
        if self.dataset in DATASETS:
            check_data(self.student, DATASETS[self.dataset])

    def _check_milestones(self) -> None:
        values = self.milestones
        whole = isinstance(values, (list, tuple)) and all(type(value) is int for value in values)
        if not whole or list(values) != sorted({*values}) or not all(0 < value < self.steps for value in values):
            expected = f"rising whole numbers from 1 to {self.steps - 1}, below the number of steps"
            raise _not_expected("milestones", values, expected)
        if self.schedule == "step" and not values:
            raise SettingError(
                "{schedule} is {value}, but {milestones} is empty; expected steps at which the rate falls.", "step"
            )
        object.__setattr__(self, "milestones", tuple(values))

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss part in the total loss, by the part's name."""
        feature = find_feature_loss(self.feature_loss).weight if self.feature_loss else 0.0
        return {
            "task_loss": self.task_weight,
            "red_loss": self.red_weight,
            "feature_loss": feature if self.feature_weight is None else self.feature_weight,
            "kd_loss": self.kd_weight,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistillConfig:
        """Rebuild from `to_dict`; ValueError for a missing or unknown key."""
        known = [item.name for item in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"Unknown run setting {unknown[0]!r}; expected one of {known}.")
        for name in ("student", "dataset"):
            if name not in values:
                raise ValueError(f"The run's configuration has no {name!r}; it needs 'student' and 'dataset'.")
        return cls(**values)


def check_teacher(config: DistillConfig) -> None:
    """ValueError when the teacher of a run has seen what the run keeps apart, or what it predicts cannot be compared.

    Where validation and test pictures are drawn from train, a teacher that was trained at another `split_seed` has
    learnt some of them by heart, and would hand them on.
    """
    from ..checkpoint.folder import read_metadata

    name = config.teacher_checkpoint
    if name is None:
        return
    if name.startswith(DDPM):
        _check_ddpm(config, name.removeprefix(DDPM))
        return
    if name.startswith(PRETRAINED):
        spec = find_network(name.removeprefix(PRETRAINED))
        task, classes = spec.task, spec.num_classes
    else:
        metadata = read_metadata(name)
        task, classes = metadata.student.task, _num_classes(metadata.student)
        seed = metadata.split_seed
        if metadata.dataset == config.dataset and seed != config.split_seed:
            raise SettingError(
                "The teacher was trained on the same pictures with {split_seed} {its_seed}, not {value}: it may have "
                "seen what this run validates or tests on; set {split_seed} to {its_seed}.",
                config.split_seed,
                {"its_seed": seed},
            )
        if task == config.student.task == "diffusion":
            _check_prediction(config, name, metadata.prediction_type)
    _check_task(config, name, task)
    if config.kd_weight > 0 and config.student.task == "classification" and classes != _num_classes(config.student):
        raise SettingError(
            "The teacher tells {classes} classes apart, the student {value}, so KD cannot compare their answers; "
            "choose a teacher of these pictures, or set {kd_weight} to 0.",
            _num_classes(config.student),
            {"classes": classes},
        )


def _check_ddpm(config: DistillConfig, source: str) -> None:
    """ValueError where a DDPM from elsewhere draws another size, or predicts something else, than the student."""
    from ..checkpoint.sources import ddpm_settings

    _check_task(config, source, "diffusion")
    size, kind = ddpm_settings(source)
    if size not in (None, config.student.image_size):
        raise SettingError(
            "{source} draws {size} px, the student {value}; set {image_size} to {size}.",
            config.student.image_size,
            {"source": source, "size": size},
        )
    _check_prediction(config, source, kind)


def _check_task(config: DistillConfig, teacher: str, task: str) -> None:
    if task != config.student.task:
        raise ValueError(
            f"The teacher {teacher} is a network for {task}, the student one for {config.student.task}; expected both "
            "for the same."
        )


def _check_prediction(config: DistillConfig, source: str, kind: str) -> None:
    if kind not in CHOICES["prediction_type"]:
        raise ValueError(f"{source} predicts {kind!r}; expected one of {list(CHOICES['prediction_type'])}.")
    if kind != config.prediction_type:
        raise SettingError(
            "{source} predicts {kind!r}, the student {value}; set {prediction_type} to {kind!r}.",
            config.prediction_type,
            {"source": source, "kind": kind},
        )


def check_data(student: StudentConfig, spec: DatasetSpec) -> None:
    """ValueError when a network is not for what a data set is for, or has another number of classes."""
    task = "classification" if student.task == "classification" else "generation"
    if task not in spec.tasks:
        raise ValueError(
            f"Data set {spec.name!r} is for {' and '.join(spec.tasks)}, but {student.student_architecture!r} is a "
            f"network for {student.task}; choose a matching pair."
        )
    classes = _num_classes(student)
    if task == "classification" and classes != spec.num_classes:
        raise ValueError(
            f"The student tells {classes} classes apart, but data set {spec.name!r} has {spec.num_classes}; set the "
            f"student's num_classes to {spec.num_classes}."
        )


def _num_classes(student: StudentConfig) -> int:
    return student.num_classes or find_network(student.student_architecture).num_classes


def _check_number(name: str, value: Any, low: float, exclusive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < low or (exclusive and value == low):
        raise _not_expected(name, value, f"a number {'above' if exclusive else 'of at least'} {low}")


def _not_expected(name: str, value: Any, expected: str) -> SettingError:
    return SettingError(f"{{{name}}} is {{value}}; expected {{expected}}.", value, {"expected": expected})
