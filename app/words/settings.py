"""The settings of a run in words: what each is called on the page, and what a run learns from. No gradio."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from redistill.common.settings import Setting, SettingError, settings_of
from redistill.common.values import is_number
from redistill.networks.alignment import BY_PLACE, BY_SIZE
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import AS_BUILT
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS, find_network
from redistill.training.config import DistillConfig
from redistill.training.feature_losses import find_feature_loss

from . import numbers

# Each setting by its name: of a run, of its student, of the student's RED blocks.
RUN, STUDENT, RED = (settings_of(config) for config in (DistillConfig, StudentConfig, REDConfig))
SETTINGS = STUDENT | RUN
KD_TITLES = {"kl": "KD", "dkd": "DKD", "mlld": "MLLD"}
# The student's two networks stand first in tables.
_STUDENT_ROWS = sorted(STUDENT, key=lambda name: name not in ("teacher", "architecture"))


def refusal(error: SettingError) -> str:
    """The sentence of settings that do not fit, with the names and words of the page."""
    return error.say({name: setting.said for name, setting in SETTINGS.items()}, _value_text)


def on_page(sentence: str) -> str:
    """A sentence of the library with settings, which it writes as `name`, called as the page does."""
    return re.sub(
        r"`(\w+)`", lambda found: f"“{SETTINGS[found[1]].said}”" if found[1] in SETTINGS else found[0], sentence
    )


def _value_text(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    titles = [setting.choices[value] for setting in SETTINGS.values() if value in tuple(setting.choices)]
    return f"“{titles[0]}”" if titles and titles[0] != value else repr(value)


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
    parts = [network_title(student), f"strides {strides}" if strides else "own strides", describe_stem(student.stem)]
    return ", ".join(filter(None, [*parts, "RED blocks"] if student.red else parts))


def network_title(student: StudentConfig) -> str:
    """The student's network, and the teacher's where it is another."""
    title = find_network(student.student_architecture).title
    same = student.student_architecture == student.teacher
    return title if same else f"{title} ← {find_network(student.teacher).title}"


def join_strides(strides: Mapping[str, int]) -> str:
    """{"conv1": 4, "maxpool": 1} → "4·1"."""
    return "·".join(str(stride) for stride in strides.values())


def learning_sources(config: DistillConfig) -> str:
    """What a run learns from besides the pictures: "RED + KD", or "on its own"; and that in int8, if so."""
    names = []
    if config.teacher_checkpoint:
        red = "RED" if config.student.alignment == BY_SIZE else f"RED {config.student.alignment}"
        titles = {"red_loss": red, "kd_loss": KD_TITLES[config.kd]}
        if config.feature_loss:
            titles["feature_loss"] = find_feature_loss(config.feature_loss).title
        names = [title for part, title in titles.items() if config.weights[part]]
    learnt = " + ".join(names) if names else "on its own"
    return f"{learnt}, in int8" if config.quantize else learnt


def run_title(config: DistillConfig) -> str:
    """A run's name in lists: pictures, network, strides, what it learns from, and seed."""
    return f"{run_family(config)} · seed {config.seed}"


def run_family(config: DistillConfig) -> str:
    """What runs of one name but for their seeds are called."""
    return " · ".join((dataset_title(config.dataset), describe_student(config.student), learning_sources(config)))


def seeds_text(seeds: Sequence[int]) -> str:
    """ "seed 0" or "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def run_sentences(config: DistillConfig, seeds: Sequence[int]) -> list[str]:
    """The settings that matter most, as short sentences; what a run does not use is left out."""
    student, strides = config.student, join_strides(config.student.strides)
    own = ", ".join(filter(None, (f"strides {strides}" if strides else "own strides", describe_stem(student.stem))))
    first = f" out of the first {config.train_limit:,}" if config.train_limit else ""
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[config.optimizer]
    return [
        f"{network_title(student)} at {numbers.format_pixels(student.image_size)}, {own}, {describe_red(student.red)}.",
        f"{_losses(config)}.",
        f"{config.steps:,} steps of {config.batch_size} images{first} of {dataset_title(config.dataset)}, from "
        f"{RUN['init'].choices[config.init]} weights; {optimizer}, learning rate "
        f"{numbers.format_number(config.learning_rate)}, {config.schedule} schedule; {seeds_text(seeds)}.",
    ]


def _losses(config: DistillConfig) -> str:
    weights = {part: weight for part, weight in config.weights.items() if weight}
    parts = [f"task {numbers.format_number(config.task_weight)}"]
    if config.teacher_checkpoint and "red_loss" in weights:
        places = ", stage-wise" if config.student.alignment == BY_PLACE else ""
        parts.append(f"RED {numbers.format_number(weights['red_loss'])} ({config.distance}{places})")
    if config.teacher_checkpoint and "kd_loss" in weights:
        is_classifier = config.student.task == "classification"
        how = f" (temperature {numbers.format_number(config.temperature)})" if is_classifier else ""
        parts.append(f"{KD_TITLES[config.kd]} {numbers.format_number(weights['kd_loss'])}{how}")
    if config.feature_loss and "feature_loss" in weights:
        parts.append(f"{find_feature_loss(config.feature_loss).title} {numbers.format_number(weights['feature_loss'])}")
    return f"Learns with the weights {', '.join(parts)}" if len(parts) > 1 else "Learns from the pictures alone"


def row_label(name: str) -> str:
    """What a table calls a setting of a run, where it does not stand beside the other ones of the page."""
    return RUN[name].row if name in RUN else name


def setting_rows(config: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a run (`DistillConfig.to_dict()`, of any version) as label → text."""
    student = config.get("student")
    student = dict(student) if isinstance(student, Mapping) else {}
    student["architecture"] = student.get("architecture") or student.get("teacher")
    rows = {STUDENT[name].row: _text(STUDENT[name], student.get(name)) for name in _STUDENT_ROWS}
    rows |= {setting.row: _text(setting, config.get(name)) for name, setting in RUN.items()}
    unknown = sorted(set(config) - {*RUN, "student"})
    return rows | {name: _plain_text(config[name]) for name in unknown}


def _red_text(value: Any) -> str:
    if not value:
        return "none"
    try:
        return _red_changes(REDConfig.from_dict(value)) or "as usual"
    except ValueError:
        return str(value)


def _text(setting: Setting, value: Any) -> str:
    if setting.name == "dataset":
        return dataset_title(str(value))
    if setting.name in ("teacher", "architecture"):
        return NETWORKS[value].title if value in NETWORKS else str(value)
    if setting.name == "red":
        return _red_text(value)
    if isinstance(value, Mapping):
        return join_strides(value) or "own"
    if setting.name == "teacher_checkpoint" and value:
        return str(value).rstrip("/").removesuffix("/student").rsplit("/", 1)[-1]
    if value in (None, "") and setting.empty:
        return setting.empty
    if value in tuple(setting.choices):
        return setting.choices[value]
    is_name = setting.name in ("image_size", "num_classes") or setting.name.endswith("seed")  # not an amount
    return str(value) if is_name and value is not None else _plain_text(value)


def _plain_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no"}.get(value, "–")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


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
    """The figures of a final record that are known here and are numbers, as label → text."""
    return {label: write(figures[name]) for name, (label, write) in FIGURES.items() if is_number(figures.get(name))}


def describe_stem(stem: str) -> str:
    """ "" of a first convolution as built, else what it is: "wide stem"."""
    return "" if stem == AS_BUILT else f"{stem} stem"


def describe_red(red: REDConfig | None, alignment: str = BY_SIZE) -> str:
    """ "RED blocks", "no RED blocks", or with what is not as usual: "RED blocks (gate 3×3, outermost)"."""
    if red is None:
        return "no RED blocks"
    changes = ", ".join(filter(None, [alignment if alignment != BY_SIZE else "", _red_changes(red)]))
    return f"RED blocks ({changes})" if changes else "RED blocks"


def _red_changes(red: REDConfig) -> str:
    """What is not as usual about RED blocks."""
    usual, changes = REDConfig(), []
    if red.gate and red.gate_per == "channel":  # which has no kernel
        changes, red = ["gate per channel"], replace(red, gate_kernel=usual.gate_kernel)
    for name, has, side, usual_side in (
        ("gate", red.gate, red.gate_kernel, usual.gate_kernel),
        ("residual encoder", red.residual_encoder, red.residual_kernel, usual.residual_kernel),
    ):
        if not has:
            changes.append(f"no {name}")
        elif side != usual_side:
            changes.append(f"{name} {side}×{side}")
    if red.residual_encoder and red.residual_squeeze > 1:
        changes.append(f"squeezed {red.residual_squeeze}×")
    if red.residual_encoder and red.residual_depthwise:
        changes.append("depthwise")
    return ", ".join([*changes, red.points] if red.points != usual.points else changes)
