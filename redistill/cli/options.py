"""Settings of runs as options of the command line, and back."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.config import DistillConfig

# Settings of DistillConfig that options of their own set.
_NO_OPTION = ("student",)


def add_setting_options(command: argparse.ArgumentParser) -> None:
    """An option for every setting of a run, and for those of its student and of its RED blocks."""
    from ..networks.red import REDConfig
    from ..training.config import DistillConfig

    hints, told = typing.get_type_hints(DistillConfig), _comments(DistillConfig)
    group = command.add_argument_group("settings (default: the preset's)")
    for item in dataclasses.fields(DistillConfig):
        if item.name not in _NO_OPTION:
            # "int | None" is an int on the command line, "tuple[int, ...]" a list with commas.
            hint = hints[item.name]
            kind = _numbers if typing.get_origin(hint) is tuple else next(iter(typing.get_args(hint)), hint)
            _add_option(group, item.name, f"set_{item.name}", kind, told[item.name])
    group = command.add_argument_group("the student")
    group.add_argument("--teacher", dest="student_teacher", help="network of the teacher, such as resnet18")
    group.add_argument("--architecture", dest="student_architecture", help="the student's network, if another")
    group.add_argument("--strides", dest="student_strides", help="such as conv1=4,maxpool=1,layer4.0=1")
    group.add_argument(
        "--teacher-strides", dest="student_teacher_strides", help="the teacher's, where not its network's own"
    )
    group.add_argument("--image-size", dest="student_image_size", type=int, help="pixels a side")
    group.add_argument("--alignment", dest="student_alignment", help="asynchronous or stage-wise")
    group = command.add_argument_group("RED blocks of the student")
    group.add_argument("--no-red", action="store_true", help="leave them out")
    hints, told = typing.get_type_hints(REDConfig), _comments(REDConfig)
    for item in dataclasses.fields(REDConfig):
        name = f"red_{item.name}"
        _add_option(group, name, name, hints[item.name], told[item.name])


def _add_option(group: Any, name: str, place: str, kind: Any, told: str) -> None:
    how = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "metavar": "VALUE"}
    option = f"--{name.replace('_', '-')}"
    group.add_argument(option, dest=place, default=None, help=told.replace("%", "%%") or None, **how)


def _comments(settings: type) -> dict[str, str]:
    """The comment of each field of a class of settings: behind it, or on the line before. "" for a field without."""
    found, before = {}, ""
    for line in inspect.getsource(settings).splitlines():
        code, _, comment = line.strip().partition("# ")
        if field := re.match(r"(\w+): ", code):
            found.setdefault(field[1], comment or before)
        before = "" if code else comment
    return found


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def run_config(options: argparse.Namespace) -> DistillConfig:
    """The settings of `--config` or `--preset`, changed as the other options say.

    Another data set brings its classes and its usual image size along, a "ddpm:" teacher its network. Raises ValueError
    for settings that do not go together, OSError for a file that cannot be read.
    """
    from ..common.files import read_json
    from ..data.datasets import find_dataset
    from ..networks.zoo import DDPM
    from ..training.config import DistillConfig
    from ..training.presets import find_preset

    values = read_json(options.config) if options.config else find_preset(options.preset).config.to_dict()
    settings = {name[4:]: value for name, value in vars(options).items() if name.startswith("set_")}
    values |= {name: value for name, value in settings.items() if value is not None}
    student = dict(values.get("student") or {})
    given = {name[8:]: value for name, value in vars(options).items() if name.startswith("student_")}
    given |= {name: parse_strides(text) for name, text in given.items() if text is not None and "strides" in name}
    student |= {name: value for name, value in given.items() if value is not None}
    red = {name[4:]: value for name, value in vars(options).items() if name.startswith("red_") and value is not None}
    if options.no_red and red:
        raise ValueError(f"--no-red leaves no RED block whose {next(iter(red))} could be set; drop one of the two.")
    if options.no_red:
        student["red"] = None
    elif red:
        student["red"] = (student.get("red") or {}) | red
    if options.set_dataset is not None:
        if options.set_dataset.startswith("folder:"):  # found again from any working directory
            values["dataset"] = f"folder:{Path(options.set_dataset[7:]).expanduser().resolve()}"
        spec = find_dataset(values["dataset"], values.get("split_seed", 0))
        student["num_classes"] = spec.num_classes if student.get("num_classes") else None
        student["image_size"] = options.student_image_size or spec.default_size
    if (options.set_teacher_checkpoint or "").startswith(DDPM):
        _follow_ddpm(options, values, student)
    return DistillConfig.from_dict(values | {"student": student})


def _follow_ddpm(options: argparse.Namespace, values: dict[str, Any], student: dict[str, Any]) -> None:
    """Let the student have network, image size and prediction type of its "ddpm:" teacher, unless options say other."""
    from ..checkpoint.sources import ddpm_settings
    from ..networks.zoo import DDPM

    source = options.set_teacher_checkpoint.removeprefix(DDPM)
    if Path(source).expanduser().is_dir():  # found again from any working directory
        source = str(Path(source).expanduser().resolve())
    size, kind = ddpm_settings(source)
    values["teacher_checkpoint"] = DDPM + source
    student["teacher"] = options.student_teacher or DDPM + source
    student["image_size"] = options.student_image_size or size or student["image_size"]
    values["prediction_type"] = options.set_prediction_type or kind


def parse_strides(text: str) -> dict[str, int]:
    """ "conv1=4,maxpool=1" as a mapping; ValueError for anything else."""
    strides = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not name or not value.strip().lstrip("-").isdigit():
            raise ValueError(f"Strides hold {part!r}; expected layer=stride pairs such as conv1=4,maxpool=1.")
        strides[name.strip()] = int(value)
    return strides
