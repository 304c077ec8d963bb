"""Settings of runs as options of the command line, and back."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ..checkpoint.sources import ddpm_settings
from ..common.files import read_json
from ..common.settings import Setting, settings_of
from ..data.datasets import find_dataset
from ..networks.red import REDConfig
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM
from ..training.config import DistillConfig
from ..training.presets import find_preset


def add_setting_options(command: argparse.ArgumentParser) -> None:
    """An option for every setting of a run, and for those of its student and of its RED blocks."""
    _add_options(command.add_argument_group("settings (default: the preset's)"), DistillConfig, "set")
    _add_options(command.add_argument_group("the student"), StudentConfig, "student")
    blocks = command.add_argument_group("RED blocks of the student")
    blocks.add_argument("--no-red", action="store_true", help="leave them out")
    _add_options(blocks, REDConfig, "red", before="red-")


def _add_options(group: Any, config: type, place: str, before: str = "") -> None:
    """Options for the settings of a dataclass, left in the namespace as PLACE_NAME; None for those not given."""
    for setting in settings_of(config).values():
        if setting.help:
            option = f"--{before}{setting.name.replace('_', '-')}"
            told = setting.help.replace("%", "%%")
            group.add_argument(option, dest=f"{place}_{setting.name}", default=None, help=told, **_reading(setting))


def _reading(setting: Setting) -> dict[str, Any]:
    """How argparse reads a setting's value."""
    if setting.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    kind = setting.type if setting.type in (int, float) else _numbers if setting.type is tuple else str
    return {"type": kind, "metavar": "VALUE"}


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} holds more than whole numbers; expected such as 30,60,80") from None


def _given(options: argparse.Namespace, place: str) -> dict[str, Any]:
    """The values of `_add_options` that the command line holds, by the names of their settings."""
    start, found = f"{place}_", vars(options)
    return {
        name.removeprefix(start): found[name] for name in found if name.startswith(start) and found[name] is not None
    }


def run_config(options: argparse.Namespace) -> DistillConfig:
    """The settings of `--config` or `--preset`, changed as the other options say.

    Another data set brings its classes and its usual image size along, a "ddpm:" teacher its network, image size and
    prediction type. Raises ValueError for settings that do not go together, OSError for a file that cannot be read.
    """
    values = read_json(options.config) if options.config else find_preset(options.preset).config.to_dict()
    student = dict(values.get("student") or {})
    given, of_student, red = (_given(options, place) for place in ("set", "student", "red"))
    if options.no_red and red:
        raise ValueError(f"--no-red leaves no RED block whose {next(iter(red))} could be set; drop one of the two.")
    if options.no_red:
        student["red"] = None
    elif red:
        student["red"] = (student.get("red") or {}) | red
    kind, colon, place = given.get("dataset", "").partition(":")
    if kind:
        if kind == "folder":
            given["dataset"] = kind + colon + _absolute(place)
        spec = find_dataset(given["dataset"], (values | given).get("split_seed", 0))
        student["num_classes"] = spec.num_classes if student.get("num_classes") else None
        student["image_size"] = spec.default_size
    kind, colon, place = given.get("teacher_checkpoint", "").partition(":")
    if kind + colon == DDPM:
        source = _absolute(place) if Path(place).expanduser().is_dir() else place
        given["teacher_checkpoint"] = student["teacher"] = DDPM + source
        size, values["prediction_type"] = ddpm_settings(source)
        student["image_size"] = size or student["image_size"]
    for name in ("strides", "teacher_strides"):
        if name in of_student:
            of_student[name] = parse_strides(of_student[name])
    return DistillConfig.from_dict(values | given | {"student": student | of_student})


def _absolute(folder: str) -> str:
    """A folder as it is found from any working directory."""
    return str(Path(folder).expanduser().resolve())


def parse_strides(text: str) -> dict[str, int]:
    """ "conv1=4,maxpool=1" as a mapping; ValueError for anything else."""
    strides = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not name.strip() or not re.fullmatch(r"-?[0-9]{1,9}", value.strip()):
            raise ValueError(f"Strides hold {part!r}; expected layer=stride pairs such as conv1=4,maxpool=1.")
        strides[name.strip()] = int(value)
    return strides
