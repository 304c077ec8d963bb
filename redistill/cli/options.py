"""Settings of runs as options of the command line, and back."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.metadata import read_metadata
from ..checkpoint.sources import ddpm_settings
from ..common.files import read_json
from ..common.settings import Setting, settings_of
from ..common.values import is_number
from ..data.datasets import find_dataset
from ..networks.pooling_points import Stride, one_or_pair
from ..networks.red import REDConfig
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM, is_network
from ..training.adapting import changed, on_pictures
from ..training.config import DistillConfig
from ..training.presets import find_preset

NETWORK = "name of a network: resnet18, torchvision:NAME, timm:NAME, hf-hub:timm/NAME, file:PATH.py:FUNCTION, PATH.pt2"
MOST_SEEDS = 10_000  # images of one PNG
# Takes a command's name, what runs it, and a sentence about it; returns it, for its options.
AddCommand = Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser]


def add_option(command: argparse.ArgumentParser, name: str, default: Any, told: str, **reading: Any) -> None:
    """An option whose default its help tells."""
    command.add_argument(name, default=default, help=f"{told} (default: %(default)s)", **reading)


def add_setting_options(command: argparse.ArgumentParser, some: Sequence[str] = ()) -> None:
    """An option for every setting of a run, and for those of its student and of its RED blocks; or for `some` alone."""
    if some:
        _add_options(command.add_argument_group("settings (default: the run's own)"), DistillConfig, "set", some=some)
        return
    _add_options(command.add_argument_group("settings (default: the preset's)"), DistillConfig, "set")
    _add_options(command.add_argument_group("the student"), StudentConfig, "student")
    add_red_options(command)


def add_red_options(command: argparse.ArgumentParser) -> None:
    """An option for every setting of RED blocks, and one that leaves them out."""
    blocks = command.add_argument_group("RED blocks of the student")
    blocks.add_argument("--no-red", action="store_true", help="leave them out")
    _add_options(blocks, REDConfig, "red", before="red-")


def red_settings(options: argparse.Namespace) -> dict[str, Any] | None:
    """The settings of RED blocks that the command line holds, by name; None where it leaves the blocks out.

    Raises ValueError where it says both.
    """
    red = _given(options, "red")
    if options.no_red and red:
        raise ValueError(f"--no-red leaves no RED block whose {next(iter(red))} could be set; drop one of the two.")
    return None if options.no_red else red


def _add_options(group: Any, config: type, place: str, before: str = "", some: Sequence[str] = ()) -> None:
    """Options for the settings of a dataclass, left in the namespace as PLACE_NAME; None for those not given."""
    for setting in settings_of(config).values():
        if setting.help and (not some or setting.name in some):
            option = f"--{before}{setting.name.replace('_', '-')}"
            told = setting.help.replace("%", "%%")
            group.add_argument(option, dest=f"{place}_{setting.name}", default=None, help=told, **_reading(setting))


def as_options(sentence: str) -> str:
    """A sentence in which settings, written as `name`, are called by their options."""
    known = settings_of(DistillConfig)
    named = lambda found: f"--{found[1].replace('_', '-')}" if found[1] in known else found[0]  # noqa: E731
    return re.sub(r"`(\w+)`", named, sentence)


def _reading(setting: Setting) -> dict[str, Any]:
    """How argparse reads a setting's value."""
    if setting.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    if setting.name == "image_size":
        return {"metavar": "VALUE"}  # see parse_size
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
    given = {
        name.removeprefix(start): found[name] for name in found if name.startswith(start) and found[name] is not None
    }
    if isinstance(size := given.get("image_size"), str):
        given["image_size"] = parse_size(size)
    return given


def run_config(options: argparse.Namespace) -> DistillConfig:
    """The settings of `--config` or `--preset`, changed as the other options say.

    Another data set brings its classes along, and its image size where it has one of its own; a trained teacher the
    size that it learnt at, a "ddpm:" teacher its network and prediction type too; another network has strides that pool
    early. Raises ValueError for settings that do not go together, OSError for a file that cannot be read.
    """
    values = read_json(options.config) if options.config else find_preset(options.preset).config.to_dict()
    student = DistillConfig.from_dict(values).student.to_dict()
    given, of_student, red = _given(options, "set"), _given(options, "student"), red_settings(options)
    if red is not None:  # the blocks are not left out
        red = (student["red"] or {}) | red if red else student["red"]
    kind, colon, place = given.get("dataset", "").partition(":")
    if kind:
        if kind == "folder" and place.strip():
            given["dataset"] = kind + colon + _absolute(place)
        student = on_pictures(student, find_dataset(given["dataset"], (values | given).get("split_seed", 0)))
    kind, colon, place = given.get("teacher_checkpoint", "").partition(":")
    if kind + colon == DDPM:
        source = _absolute(place) if place.strip() and Path(place).expanduser().is_dir() else place
        given["teacher_checkpoint"] = student["teacher"] = DDPM + source
        size, values["prediction_type"] = ddpm_settings(source)
        student["image_size"] = size or student["image_size"]
    elif "teacher_checkpoint" in given and "teacher" not in of_student:
        of_student = _taught_by(given["teacher_checkpoint"], student) | of_student
    for name in ("strides", "teacher_strides"):
        if isinstance(of_student.get(name), str):
            of_student[name] = parse_strides(of_student[name])
    return DistillConfig.from_dict(values | given | {"student": changed(student, of_student) | {"red": red}})


def _taught_by(teacher: str, student: Mapping[str, Any]) -> dict[str, Any]:
    """What a student takes from another teacher: its image size, and where it is another network, all else of it."""
    is_trained = not is_network(teacher)
    taught = read_metadata(teacher).student if is_trained else StudentConfig(teacher)
    size = {"image_size": taught.image_size}
    if taught.student_architecture == student["teacher"]:
        return size if is_trained else {}
    own = {"teacher": taught.student_architecture, "teacher_strides": taught.strides}
    return size | own | {"in_channels": taught.in_channels, "unets": taught.unets}


def _absolute(folder: str) -> str:
    """A folder as it is found from any working directory."""
    return str(Path(folder).expanduser().resolve())


def parse_strides(text: str) -> dict[str, Stride]:
    """ "conv1=4,maxpool=2x1" as a mapping, with pairs for down and across; ValueError for anything else."""
    strides: dict[str, Stride] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not name.strip() or not re.fullmatch(r"-?[0-9]{1,9}(x[0-9]{1,9})?", value.strip()):
            raise ValueError(f"Strides hold {part!r}; expected layer=stride pairs such as conv1=4,maxpool=1.")
        if name.strip() in strides:
            raise ValueError(f"Strides hold {name.strip()!r} twice; expected each layer once.")
        sides = [int(side) for side in value.split("x")]
        strides[name.strip()] = one_or_pair(sides) if len(sides) == 2 else sides[0]
    return strides


def parse_seeds(text: str) -> list[int]:
    """ "0-3,7" as [0, 1, 2, 3, 7]; ValueError for anything else, and for more than `MOST_SEEDS`."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part.strip())
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if low > high:
            raise ValueError(f"Seeds hold {part!r}; expected whole numbers and rising ranges such as 0-15 or 3,7,9.")
        if len(seeds) + high - low >= MOST_SEEDS:
            raise ValueError(f"Seeds {text!r} are too many; expected at most {MOST_SEEDS:,} images.")
        seeds += range(low, high + 1)
    return seeds


def parse_size(text: str) -> int | tuple[int, int]:
    """ "224" as 224, "480x640" as (480, 640), height first; ValueError for anything else."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(re.fullmatch("[0-9]{1,9}", side.strip()) for side in sides):
        raise ValueError(f"Image size is {text!r}; expected pixels a side such as 224, or HEIGHTxWIDTH as 480x640.")
    numbers = [int(side) for side in sides]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def parse_patch(text: str) -> tuple[str, int]:
    """ "layer2:4" as ("layer2", 4); ValueError for anything else."""
    layer, _, grid = text.rpartition(":")
    if not layer.strip() or not re.fullmatch("[0-9]{1,9}", grid.strip()):
        raise ValueError(f"--patch is {text!r}; expected a layer and patches a side such as layer2:4, or best.")
    return layer.strip(), int(grid)


def parse_percent(text: str) -> float:
    """ "50" and "12.5" as numbers from 0 on; ValueError for anything else."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text.strip()):
        raise ValueError(f"--patching is {text!r}; expected per cent of computation such as 50.")
    return float(text)


def parse_numbers(texts: Sequence[str], what: str) -> tuple[float, ...]:
    """["0.485,0.456", "0.406"] as (0.485, 0.456, 0.406); ValueError, naming `what` they are, for anything else."""
    parts = [part for text in texts for part in text.replace(",", " ").split()]
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if not values or not all(map(is_number, values)):
        raise ValueError(f"{what} is {' '.join(texts)!r}; expected a number a channel, such as 0.485,0.456,0.406.")
    return values


def check_out(file: Path, ending: str = "") -> None:
    """ValueError for a file that cannot be written there, or is called as one of another kind than `ending` says,
    before the work that it is to hold."""
    if ending and file.suffix.lower() not in (ending, ""):
        raise ValueError(f"{file} ends in {file.suffix}, but what is written is a {ending}; call it so.")
    if file.is_dir():
        raise ValueError(f"{file} is a folder; expected the name of a file to write.")
    if not file.parent.is_dir():
        raise ValueError(f"There is no folder {file.parent} to write {file.name} into; make it, or choose another.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ValueError(f"{file} cannot be written; choose another place.")
