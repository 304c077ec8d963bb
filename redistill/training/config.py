"""The settings of a run: one frozen dataclass that the command line, the page and the run folder all read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.settings import SettingError, check_settings, check_texts, config_from, not_expected, setting
from ..common.values import LARGEST_SEED
from ..data.augmentation import AUGMENTATIONS
from ..data.datasets import check_name
from ..data.table import DATASETS, DatasetSpec
from ..networks.alignment import BY_PLACE
from ..networks.stem_kinds import AS_BUILT
from ..networks.student import StudentConfig
from ..networks.zoo import check_pretrained
from .feature_losses import FEATURE_LOSSES, find_feature_loss
from .losses import DISTANCES

NEWER = (
    "stride_vectors",
    "stride_sampling",
    "accept_teacher",
    "balanced",
    "class_weights",
    "label_smoothing",
    "quantize",
)  # settings that are off unless they are set
# What may be another from a step on: how long and how fast it learns, where, and the places of what has been moved.
CHANGEABLE = (
    "steps",
    "learning_rate",
    "validate_every",
    "save_every",
    "device",
    "dataset",
    "teacher_checkpoint",
    "accept_teacher",
)
MOST_ALIKE = 100.0  # α of a beta distribution, whose shares all lie near a half there
OF_A_RUN = ("seed", "device", "save_every")  # settings in which runs of one setting may differ


@dataclass(frozen=True)
class DistillConfig:
    """Every setting of a run. Raises ValueError, mostly a SettingError, for a value that cannot be trained with.

    Without `teacher_checkpoint` the network of `student` is trained on the task alone: that is how teachers and
    undistilled students are made. A setting is declared here and nowhere else: option, control, sentence and row of a
    table are made from it, in this order.
    """

    student: StudentConfig  # what is trained
    # fmt: off
    dataset: str = setting(label="Pictures",
        help='such as "emoji-clutter" (see data/table.py), "folder:PATH", "upload:NAME", "hub:OWNER/NAME"')
    teacher_checkpoint: str | None = setting(None, "Teacher",
        'folder of the trained teacher, "torchvision:NAME" for ImageNet\'s weights, or "ddpm:" and a folder or Hub id',
        empty="none")
    accept_teacher: bool = setting(False, "Learn also from a bad teacher",
        "train also where the teacher, tried on the validation pictures first, does badly there")
    init: str = setting("scratch", "Weights to start from",
        'start from fresh weights ("scratch"), from the "teacher"\'s, or from torchvision\'s, "pretrained"',
        choices={"scratch": "fresh", "teacher": "the teacher’s", "pretrained": "ImageNet’s (torchvision)"})
    red_weight: float = setting(1.0, "RED weight",
        "of the mean RED loss over aligned feature maps; 0 keeps the blocks and drops the loss", low=0)
    distance: str = setting("cosine", "Distance of the RED loss", "of the RED loss: {choices}", choices=DISTANCES)
    kd_weight: float = setting(0.0, "KD weight",
        "of distillation at the output: KD of logits, or the error of the teacher's prediction", low=0)
    kd: str = setting("kl", "KD compares",
        'of logits: "kl" (Hinton et al.), "dkd" (decoupled, Zhao et al.) or "mlld" (multi-level, Jin et al.)',
        choices={"kl": "all classes at once", "dkd": "true class apart (DKD)",
                 "mlld": "pictures and classes among themselves, too (MLLD)"})
    temperature: float = setting(4.0, "KD temperature", "of KD, DKD and, in the middle, MLLD", above=0)
    dkd_alpha: float = setting(1.0, "DKD: true class", "DKD's weight of the true class against all others", low=0)
    dkd_beta: float = setting(8.0, "DKD: others", "DKD's weight of the other classes among themselves", low=0)
    feature_loss: str | None = setting(None, "Also learn from", "one more loss between feature maps: {choices}",
        empty="nothing more", choices={name: loss.title for name, loss in FEATURE_LOSSES.items()})
    feature_weight: float | None = setting(None, "Its weight", "of that loss; None: as published", above=0,
        row="Weight of “Also learn from”", said="The weight of “Also learn from”")
    task_weight: float = setting(1.0, "Task weight",
        "of the task loss: cross entropy, or the error of the predicted noise or velocity", low=0)
    prediction_type: str = setting("v_prediction", "Diffusion predicts",
        'diffusion: the network predicts "v_prediction", or "epsilon", the noise', choices=("v_prediction", "epsilon"))
    steps: int = setting(1320, "Steps", "optimizer steps", low=1)
    batch_size: int = setting(128, "Batch", "images a step", low=1)
    train_limit: int | None = setting(None, "Training images",
        "use only the first so many training images, and a sixth as many for validation", empty="all", low=1)
    optimizer: str = setting("adamw", "Optimizer", '"adamw", or "sgd" with momentum 0.9', choices=("adamw", "sgd"))
    learning_rate: float = setting(3e-3, "Learning rate", "at its highest", above=0)
    schedule: str = setting("one-cycle", "Learning-rate schedule",
        '"one-cycle"; after a warm-up "cosine", "step" or "constant"',
        choices=("one-cycle", "cosine", "step", "constant"))
    milestones: tuple[int, ...] = setting((), "Rate falls after steps",
        '"step": steps after which the learning rate falls')
    gamma: float = setting(0.1, "and is multiplied by", '"step": what it is multiplied by at each milestone', above=0,
        row="Rate is then multiplied by", said="The factor below “Rate falls after steps”")
    warmup_steps: float = setting(0, "Warm-up steps",  # a part of a step counts: runs were made with such
        'of linear warm-up; "one-cycle" warms up for a quarter of the steps', low=0)
    weight_decay: float = setting(1e-2, "Weight decay", "of the optimizer", low=0)
    grad_clip: float = setting(1.0, "Gradient clip", "largest gradient norm; 0 clips nothing", low=0)
    ema_decay: float = setting(0.0, "EMA decay",
        "of the averaged copy that is validated and kept; 0 keeps the trained weights", low=0, below=1)
    precision: str = setting("fp32", "Numbers while training",
        'of both networks while training: "fp32", "bf16" (mixed; weights and losses stay fp32), or "auto", which tries '
        "both where the processor has bf16, and takes what is faster",
        choices={"fp32": "fp32", "bf16": "bf16 (mixed)", "auto": "what is faster here"})
    freeze_batch_norm: bool = setting(False, "Batch-norm statistics stay as they are",
        "train with the running statistics, of RED blocks too, and leave them as they are")
    augmentation: str | None = setting(None, "Pictures are changed by",
        "of training pictures: {choices}; None: the set's own", empty="the set’s own", choices=AUGMENTATIONS)
    balanced: bool = setting(False, "Classes are drawn evenly",
        "draw training pictures so that classes come equally often, those of small ones again and again")
    class_weights: bool = setting(False, "Classes weigh evenly",
        "weigh pictures in the losses of labels by the inverse of their class's frequency, so that small classes count "
        "as much as large ones")
    mixup: float = setting(0.0, "Mixup, α", said="Mixup", low=0, high=MOST_ALIKE,
        help="α of mixup, which blends pictures and labels of two; 0 for none (see data/augmentation.py)")
    cutmix: float = setting(0.0, "CutMix, α", said="CutMix", low=0, high=MOST_ALIKE,
        help="α of CutMix, which cuts a part of another picture in; 0 for none")
    label_smoothing: float = setting(0.0, "Label smoothing", low=0, below=1,
        help="share of each label that is spread over all classes alike; 0 for none")
    stride_vectors: int = setting(0, "Stride vectors a step", low=0,
        help="train one network for every budget: so many choices of strides, drawn anew, a step (2 or more); 0 trains "
        "at the student's own strides alone")
    stride_sampling: str = setting("even", "Stride vectors come from",
        'with stride vectors: "even", from all choices alike, or mostly from the "front", those of least memory for '
        "most computation", choices={"even": "all choices alike", "front": "mostly the front"})
    quantize: str | None = setting(None, "Train as in", empty="fp32", row="Trained as in", choices={"int8": "int8"},
        help='"int8": go on from the teacher\'s own network, maps and weights rounded as an export in int8 does')
    split_seed: int = setting(0, "Seed of the splits", low=0, high=LARGEST_SEED,
        help="of drawing validation (and test) pictures from train, where the data set has none of its own")
    validate_every: int = setting(110, "Validate every", "steps between validations", low=1)
    save_every: int = setting(110, "Save every", "steps between resume points", low=1)
    seed: int = setting(0, "Seed", "of fresh weights, batches, augmentation and noise", low=0, high=LARGEST_SEED)
    device: str = setting("cpu", "Device", '"cpu", "cuda", "cuda:1", ...')
    # fmt: on

    def __post_init__(self) -> None:
        if isinstance(self.student, Mapping):
            object.__setattr__(self, "student", StudentConfig.from_dict(self.student))
        if not isinstance(self.student, StudentConfig):
            raise ValueError(f"The student is {str(self.student)[:80]!r}; expected its settings.")
        check_texts(self)
        check_settings(self)
        self._check_milestones()
        if self.teacher_checkpoint is None and (self.init == "teacher" or self.kd_weight > 0 or self.feature_loss):
            raise ValueError(
                "Starting from the teacher, KD and feature losses need a teacher; give its checkpoint folder."
            )
        if self.init == "pretrained":
            check_pretrained(self.student.student_architecture)
        if (self.mixup or self.cutmix) and (self.student.task != "classification" or self.kd == "dkd"):
            raise SettingError(
                "{mixup} and {cutmix} blend class labels; expected 0 with a diffusion network, and with DKD."
            )
        self._check_evening()
        if self.label_smoothing and self.student.task != "classification":
            raise SettingError(
                "{label_smoothing} is {value}; expected 0 with a diffusion network: it has no classes.",
                self.label_smoothing,
            )
        if self.kd != "kl" and self.student.task != "classification":
            raise SettingError("DKD and MLLD are of classes; with a diffusion network, set {kd} to {value}.", "kl")
        _check_pictures(self.student)
        if self.stride_vectors:
            self._check_stride_vectors()
        if self.quantize:
            self._check_quantize()
        check_name(self.dataset)
        if self.dataset in DATASETS:
            check_data(self.student, DATASETS[self.dataset])

    def _check_evening(self) -> None:
        for name in ("balanced", "class_weights"):
            if getattr(self, name) and self.student.task != "classification":
                raise SettingError(
                    f"{{{name}}} is {{value}}; expected {{off}} with a diffusion network: it has no classes.",
                    True,
                    {"off": "false"},
                )
        if self.balanced and self.class_weights:
            raise SettingError(
                "{balanced} and {class_weights} both make up for classes of different sizes, so small ones would count "
                "more than large ones; set one of them alone."
            )

    def _check_milestones(self) -> None:
        values = self.milestones
        whole = isinstance(values, (list, tuple)) and all(type(value) is int for value in values)
        if not whole or list(values) != sorted({*values}) or not all(0 < value < self.steps for value in values):
            expected = f"rising whole numbers from 1 to {self.steps - 1}, below the number of steps"
            raise not_expected("milestones", values, expected)
        if self.schedule == "step" and not values:
            raise SettingError(
                "{schedule} is {value}, but {milestones} is empty; expected steps at which the rate falls.", "step"
            )
        object.__setattr__(self, "milestones", tuple(values))

    def _check_quantize(self) -> None:
        if self.student.task != "classification":
            raise SettingError("{quantize} is {value}, but only classifiers are trained so; leave it out.",
                               self.quantize)  # fmt: skip
        wanted = {
            "init": "teacher",
            "red_weight": 0.0,
            "feature_loss": "none",
            "stride_vectors": 0,
            "precision": "fp32",
        }
        for name, value in wanted.items():
            if (getattr(self, name) if name != "feature_loss" else self.feature_loss or "none") != value:
                raise SettingError(
                    f"{{quantize}} is {{value}}: it goes on from the teacher's own network and compares no maps; set "
                    f"{{{name}}} to {{wanted}}.",
                    self.quantize,
                    {"wanted": value},
                )

    def _check_stride_vectors(self) -> None:
        if self.stride_vectors == 1:
            raise SettingError("{stride_vectors} is {value}; expected 0, or at least 2: one to hold on to, one new.", 1)
        if self.student.task != "classification":
            raise SettingError("{stride_vectors} is {value}, but only classifiers are trained so; set it to 0.",
                               self.stride_vectors)  # fmt: skip
        if self.feature_loss:
            raise SettingError(
                "{stride_vectors} is {value}: what {feature_loss} learns of maps is for one choice of strides; set "
                "{feature_loss} to none.",
                self.stride_vectors,
            )
        compares = self.teacher_checkpoint and self.red_weight
        if (self.student.red is not None or compares) and self.student.alignment != BY_PLACE:
            raise SettingError(
                "{stride_vectors} is {value}: aligned by map size, other layers align at each choice of strides, so "
                "one network for all has no RED blocks and compares no maps; set {alignment} to {by_place}, or leave "
                "RED blocks out and set {red_weight} to 0.",
                self.stride_vectors,
                {"by_place": BY_PLACE},
            )
        if self.student.red is not None and self.student.student_architecture != self.student.teacher:
            raise SettingError(
                "{stride_vectors} is {value}: RED blocks at the same layers for all strides need a student of the "
                "teacher's own network, and {architecture} is {other!r}; leave RED blocks out.",
                self.stride_vectors,
                {"other": self.student.student_architecture},
            )
        if self.student.stem != AS_BUILT:
            raise SettingError(
                "{stride_vectors} is {value}, but a first convolution of the kind {kind!r} has another kernel at each "
                "choice of strides; expected {stem} {own!r}.",
                self.stride_vectors,
                {"kind": self.student.stem, "own": AS_BUILT},
            )

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
        """Plain JSON values, keyed by field name; those of NEWER only where they are set, as before they existed."""
        values = dataclasses.asdict(self) | {"student": self.student.to_dict()}
        usual = {item.name: item.default for item in dataclasses.fields(self) if item.name in NEWER}
        return {name: value for name, value in values.items() if name not in usual or value != usual[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistillConfig:
        """Rebuild from `to_dict`; ValueError for a missing or unknown key."""
        return config_from(cls, values, "run")


def _check_pictures(student: StudentConfig) -> None:
    """SettingError for a network that cannot be trained here: on square RGB pictures, to tell apart or to draw."""
    if student.task not in ("classification", "diffusion"):
        raise SettingError(
            "{teacher} is a network for {task}; expected a classifier or a DDPM, which can be trained here.",
            texts={"teacher": student.student_architecture, "task": student.task},
        )
    if not student.is_square:
        raise SettingError("{image_size} is {value}; expected one number, since runs have square pictures.",
            student.image_size)  # fmt: skip
    if student.in_channels != 3:
        raise SettingError("{in_channels} is {value}; expected 3, since runs have RGB pictures.", student.in_channels)


def check_data(student: StudentConfig, spec: DatasetSpec) -> None:
    """ValueError when a network is not for what a data set is for, or has another number of classes."""
    task = "classification" if student.task == "classification" else "generation"
    if task not in spec.tasks:
        raise ValueError(
            f"Data set {spec.name!r} is for {' and '.join(spec.tasks)}, but {student.student_architecture!r} is a "
            f"network for {student.task}; choose a matching pair."
        )
    classes = student.classes
    if task == "classification" and classes != spec.num_classes:
        told = "an unknown number of" if classes is None else classes
        raise ValueError(
            f"The student tells {told} classes apart, but data set {spec.name!r} has {spec.num_classes}; set the "
            f"student's num_classes to {spec.num_classes}."
        )
