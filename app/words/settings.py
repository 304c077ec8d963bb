"""The settings of a run in words: what each is called on the page, and what a run learns from. No gradio."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS, find_network
from redistill.training.config import DistillConfig, SettingError
from redistill.training.feature_losses import FEATURE_LOSSES, find_feature_loss

from ..runs.jobs import Run
from . import numbers

ALIGNMENT_LABELS = {"asynchronous": "of the same map size", "stage-wise": "in the same place"}
INIT_LABELS = {"scratch": "fresh", "teacher": "the teacher’s", "pretrained": "ImageNet’s (torchvision)"}
NO_FEATURE_LOSS = "nothing more"
KD_LABELS = {"kl": "all classes at once", "dkd": "true class apart (DKD)"}
# What settings of DistillConfig are called, in the order in which they are shown.
LABELS = {
    "dataset": "Pictures",
    "teacher_checkpoint": "Teacher",
    "init": "Weights to start from",
    "red_weight": "RED weight",
    "distance": "Distance of the RED loss",
    "kd_weight": "KD weight",
    "kd": "KD compares",
    "temperature": "KD temperature",
    "dkd_alpha": "DKD: true class",
    "dkd_beta": "DKD: others",
    "feature_loss": "Also learn from",
    "feature_weight": "Its weight",
    "task_weight": "Task weight",
    "prediction_type": "Diffusion predicts",
    "steps": "Steps",
    "batch_size": "Batch",
    "train_limit": "Training images",
    "optimizer": "Optimizer",
    "learning_rate": "Learning rate",
    "schedule": "Learning-rate schedule",
    "milestones": "Rate falls after steps",
    "gamma": "and is multiplied by",
    "warmup_steps": "Warm-up steps",
    "weight_decay": "Weight decay",
    "grad_clip": "Gradient clip",
    "ema_decay": "EMA decay",
    "precision": "Numbers while training",
    "freeze_batch_norm": "Batch-norm statistics stay as they are",
    "augmentation": "Pictures are changed by",
    "mixup": "Mixup, α",
    "cutmix": "CutMix, α",
    "split_seed": "Seed of the splits",
    "validate_every": "Validate every",
    "save_every": "Save every",
    "seed": "Seed",
    "device": "Device",
}
STUDENT_LABELS = {
    "teacher": "Aligned with",
    "architecture": "Network",
    "image_size": "Image side",
    "num_classes": "Classes",
    "strides": "Strides",
    "teacher_strides": "Teacher’s strides",
    "red": "RED blocks",
    "alignment": "Learns from the teacher’s layer",
}
_IN_ROWS = {"feature_weight": "Weight of “Also learn from”", "gamma": "Rate is then multiplied by"}
# What a sentence calls those that the page names beside another field, or with a unit.
_IN_SENTENCES = {
    "feature_weight": "The weight of “Also learn from”",
    "gamma": "The factor below “Rate falls after steps”",
    "mixup": "Mixup",
    "cutmix": "CutMix",
    "image_size": "Image size",
}


def refusal(error: SettingError) -> str:
    """The sentence of settings that do not fit, with the names and words of the page."""
    return error.say(LABELS | _IN_SENTENCES, _value_text)


def _value_text(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"“{KD_LABELS[value]}”" if isinstance(value, str) and value in KD_LABELS else repr(value)


def dataset_title(name: str) -> str:
    """A data set in a list: an upload by the name of its file, one of the Hub by its id."""
    kind, _, rest = name.partition(":")
    if kind == "upload":
        return f"{rest.rpartition('-')[0]} (uploaded)"
    if kind == "hub":
        return f"{rest} (Hub)"
    return Path(rest).name if kind == "folder" else name


def describe_student(student: StudentConfig) -> str:
    """ "Narrow ResNet, strides 4·1·2·2·1, RED blocks" in words short enough for a list."""
    strides = join_strides(student.strides)
    parts = [network_title(student), f"strides {strides}" if strides else "own strides"]
    return ", ".join([*parts, "RED blocks"] if student.red else parts)


def network_title(student: StudentConfig) -> str:
    """The student's network, and the teacher's where it is another."""
    title = find_network(student.student_architecture).title
    same = student.student_architecture == student.teacher
    return title if same else f"{title} ← {find_network(student.teacher).title}"


def join_strides(strides: Mapping[str, int]) -> str:
    """{"conv1": 4, "maxpool": 1} → "4·1"."""
    return "·".join(str(stride) for stride in strides.values())


def learning_sources(config: DistillConfig) -> str:
    """What a run learns from besides the pictures: "RED + KD", or "on its own"."""
    names = []
    if config.teacher_checkpoint:
        red = "RED" if config.student.alignment == "asynchronous" else f"RED {config.student.alignment}"
        titles = {"red_loss": red, "kd_loss": "DKD" if config.kd == "dkd" else "KD"}
        if config.feature_loss:
            titles["feature_loss"] = find_feature_loss(config.feature_loss).title
        names = [title for part, title in titles.items() if config.weights[part]]
    return " + ".join(names) if names else "on its own"


def run_title(config: DistillConfig) -> str:
    """A run's name in lists: network, strides and what it learns from."""
    return f"{describe_student(config.student)} · {learning_sources(config)} · seed {config.seed}"


def seeds_text(seeds: Sequence[int]) -> str:
    """ "seed 0" or "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def run_facts(run: Run) -> str:
    """What tells a run from others of its title: "120 steps, 14:05:32", or "120 steps, 3 May 14:05" on other days."""
    try:
        started = time.localtime(run.created) if run.created else None
    except (OverflowError, ValueError, OSError):  # a damaged file
        started = None
    parts = [f"{run.steps:,} steps"] if run.steps else []
    if started:
        today = started[:3] == time.localtime()[:3]
        parts.append(time.strftime("%H:%M:%S" if today else f"{started.tm_mday} %b %H:%M", started))
    return ", ".join(parts)


def distinct_titles(runs: Sequence[Run]) -> dict[str, str]:
    """The title of each run by its name, with what tells them apart where several have the same."""
    titles = [run.title for run in runs]
    facts = {run.name: run_facts(run) for run in runs if titles.count(run.title) > 1}
    return {run.name: f"{run.title} · {facts[run.name]}" if facts.get(run.name) else run.title for run in runs}


def run_sentences(config: DistillConfig, seeds: Sequence[int]) -> list[str]:
    """The settings that matter most, as short sentences; what a run does not use is left out."""
    student = config.student
    strides = join_strides(student.strides)
    network = f"{network_title(student)} at {student.image_size} px"
    network += f", strides {strides}" if strides else ", own strides"
    network += f", {describe_red(student.red)}"
    found = [f"{network}.", f"{_losses(config)}."]
    batches = f"{config.steps:,} steps of {config.batch_size} images"
    batches += f" out of the first {config.train_limit:,}" if config.train_limit else ""
    start = f"{INIT_LABELS[config.init]} weights"
    rate = f"{config.optimizer.upper() if config.optimizer == 'sgd' else 'AdamW'}, learning rate "
    rate += f"{numbers.format_number(config.learning_rate)}, {config.schedule} schedule"
    found.append(f"{batches} of {dataset_title(config.dataset)}, from {start}; {rate}; {seeds_text(seeds)}.")
    return found


def _losses(config: DistillConfig) -> str:
    weights, teacher = config.weights, config.teacher_checkpoint
    parts = [f"task {numbers.format_number(weights['task_loss'])}"]
    if teacher and weights["red_loss"]:
        words = f"RED {numbers.format_number(weights['red_loss'])} ({config.distance}"
        words += ", stage-wise)" if config.student.alignment == "stage-wise" else ")"
        parts.append(words)
    if teacher and weights["kd_loss"]:
        words = f"{'DKD' if config.kd == 'dkd' else 'KD'} {numbers.format_number(weights['kd_loss'])}"
        is_classifier = config.student.task == "classification"
        parts.append(f"{words} (temperature {numbers.format_number(config.temperature)})" if is_classifier else words)
    if config.feature_loss and weights["feature_loss"]:
        parts.append(f"{find_feature_loss(config.feature_loss).title} {numbers.format_number(weights['feature_loss'])}")
    return f"Learns with the weights {', '.join(parts)}" if len(parts) > 1 else "Learns from the pictures alone"


def row_label(name: str) -> str:
    """What a table calls a setting of a run, where it does not stand beside the other ones of the page."""
    return _IN_ROWS.get(name, LABELS.get(name, name))


def setting_rows(config: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a run (`DistillConfig.to_dict()`, of any version) as label → text."""
    student = config.get("student")
    student = student if isinstance(student, Mapping) else {}
    rows = {label: _student_text(name, student.get(name), student) for name, label in STUDENT_LABELS.items()}
    rows |= {row_label(name): _text(name, config.get(name)) for name in LABELS}
    unknown = sorted(set(config) - {*LABELS, "student"})
    return rows | {name: _text(name, config[name]) for name in unknown}


def _student_text(name: str, value: Any, student: Mapping[str, Any]) -> str:
    if name == "architecture":
        value = value or student.get("teacher")
    if name in ("teacher", "architecture"):
        return NETWORKS[value].title if value in NETWORKS else str(value)
    if name in ("strides", "teacher_strides") and isinstance(value, Mapping):
        return join_strides(value) or "own"
    if name == "red":
        return _red_text(value)
    if name == "alignment":
        return ALIGNMENT_LABELS.get(value, str(value))
    return "usual" if value is None else str(value)


def _red_text(value: Any) -> str:
    if not value:
        return "none"
    try:
        return describe_red(REDConfig.from_dict(value)).removeprefix("RED blocks").strip(" ()") or "as usual"
    except ValueError:
        return str(value)


def _text(name: str, value: Any) -> str:
    if name == "dataset":
        return dataset_title(str(value))
    if name == "teacher_checkpoint":
        return str(value).rstrip("/").removesuffix("/student").rsplit("/", 1)[-1] if value else "none"
    if name == "train_limit" and value is None:
        return "all"
    if name == "augmentation" and value is None:
        return "the set’s own"
    if name == "feature_loss":
        return FEATURE_LOSSES[value].title if value in FEATURE_LOSSES else NO_FEATURE_LOSS
    if name in ("kd", "init"):
        return {**KD_LABELS, **INIT_LABELS}.get(value, str(value))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no"}.get(value, "–")
    if isinstance(value, int):
        return f"{value:,}" if name != "seed" else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# Figures of a run's final record: what they are called, and how they are written.
FIGURES = {
    "test_accuracy": ("Test accuracy", numbers.format_percent),
    "validation_accuracy": ("Validation accuracy", numbers.format_percent),
    "test_prediction_loss": ("Test loss of the prediction", numbers.format_number),
    "validation_prediction_loss": ("Validation loss of the prediction", numbers.format_number),
    "parameters": ("Parameters", lambda count: f"{count:,}"),
    "training_peak_bytes": ("Measured peak while training", numbers.format_bytes),
    "measured_peak_bytes": ("Measured peak at inference", numbers.format_bytes),
    "eager_peak_bytes": ("Computed peak, as PyTorch allocates", numbers.format_bytes),
    "fused_peak_bytes": ("Computed peak, deployed", numbers.format_bytes),
    "seconds": ("Training time", numbers.format_duration),
    "steps_before": ("Steps of the weights it started from", lambda count: f"{count:,}"),
}


def figure_rows(figures: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a final record that are known here, as label → text."""
    return {
        label: write(figures[name])
        for name, (label, write) in FIGURES.items()
        if isinstance(figures.get(name), (int, float)) and not isinstance(figures[name], bool)
    }


def describe_red(red: REDConfig | None) -> str:
    """ "RED blocks", "no RED blocks", or with what is not as usual: "RED blocks (gate 3×3, outermost)"."""
    if red is None:
        return "no RED blocks"
    usual, changes = REDConfig(), []
    for name, has, side, usual_side in (
        ("gate", red.gate, red.gate_kernel, usual.gate_kernel),
        ("residual encoder", red.residual_encoder, red.residual_kernel, usual.residual_kernel),
    ):
        if not has:
            changes.append(f"no {name}")
        elif side != usual_side:
            changes.append(f"{name} {side}×{side}")
    if red.points != usual.points:
        changes.append(red.points)
    return f"RED blocks ({', '.join(changes)})" if changes else "RED blocks"
