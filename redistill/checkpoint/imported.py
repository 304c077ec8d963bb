"""Teachers that were trained elsewhere: a network and a file of its weights, made a checkpoint like any other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..common.files import remove_folder, sha256_of
from ..common.modules import weightless
from ..common.sentences import first_line
from ..networks.head import check_answers, last_layer
from ..networks.pooling_points import check_image_size
from ..networks.pretrained import check_stem, fold_normalization
from ..networks.student import StudentConfig, build_student
from ..networks.weights import file_state, fit_weights, load_weights, named_alike
from .folder import save
from .metadata import Metadata
from .sources import imported_dir, list_imported

CENTRED = 0.5  # mean and std of images from -1 to 1, which all networks here take
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Weights:
    """A file of weights, and what its network was trained on."""

    file: Path
    mean: Sequence[float] = (CENTRED,)  # of its images from 0 to 1: one number, or one a channel
    std: Sequence[float] = (CENTRED,)
    class_names: Sequence[str] = ()  # in the order of its outputs; empty: not known
    dataset: str = ""  # the pictures, such as "folder:PATH"; "": not known
    partial: bool = False  # whether weights may be missing, unknown or of another shape
    only_safetensors: bool = False


def import_teacher(network: StudentConfig, weights: Weights, folder: str | Path) -> tuple[Path, str]:
    """Make a checkpoint folder of a network (a config without RED blocks) and its weights; what does not fit is told.

    The number of classes is that of the class names, or of the last layer in the file. Mean and std go into the first
    layer, so that the teacher takes images from -1 to 1 as all networks here. Returns the folder, and with `partial`
    which names did not fit. Raises ValueError, in one sentence, and writes nothing, for weights of another network,
    names of another number of classes, and a network that does not run on images of its size.
    """
    _check_scale(weights)
    state = file_state(weights.file, weights.only_safetensors)
    network = _with_classes(network, state, weights)
    model = build_student(network)
    fit = load_weights(model, state, weights.file.name, weights.partial)
    channels = network.in_channels
    mean, std = (
        tuple(values) * channels if len(values) == 1 else tuple(values) for values in (weights.mean, weights.std)
    )
    check_answers(model, network)
    if {*mean, *std} != {CENTRED}:
        check_stem(model, (1, channels, *check_image_size(network.image_size)))
        fold_normalization(model, mean, std)
    told = {"file": weights.file.name, "sha256": sha256_of(weights.file), "mean": list(mean), "std": list(std)}
    metadata = Metadata(
        student=network,
        dataset=weights.dataset,
        class_names=weights.class_names,
        imported=told if fit.is_whole else told | {"fit": str(fit)},
    )
    return save(model, metadata, folder), "" if fit.is_whole else str(fit)


def _check_scale(weights: Weights) -> None:
    if not all(0 <= number <= 1 for number in weights.mean) or not all(0 < number <= 1 for number in weights.std):
        raise ValueError(
            f"mean is {list(weights.mean)} and std {list(weights.std)}; expected those of images from 0 to 1: mean "
            "from 0 to 1, std above 0 and at most 1. Of images from 0 to 255, divide both by 255."
        )


def imported_folder(name: str) -> Path:
    """Where an imported teacher of that name lies, so that its name is enough to find it."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "teacher"
    return imported_dir() / plain


def free_folder(name: str, is_it: Callable[[Path], bool] = lambda folder: False) -> Path:
    """`imported_folder`, or one beside it while that is taken, unless `is_it` says that what lies there is the same."""
    first = imported_folder(name)
    number, folder = 1, first
    while folder.exists() and not is_it(folder):
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def remove_imported(name: str) -> None:
    """Delete a teacher that was imported; ValueError where it is gone, or cannot be deleted."""
    if name not in list_imported():
        raise ValueError(f"There is no imported teacher {name[:80]!r}; expected one of {list_imported()}.")
    try:
        remove_folder(imported_dir() / name)
    except OSError as error:
        raise ValueError(f"The weights of {name} cannot be deleted ({error.strerror or error}).") from error


def read_class_names(file: str | Path) -> tuple[str, ...]:
    """Names of classes in a file: one a line, or a JSON list, or a JSON object of them by place ("0", "1", ...).

    Raises ValueError for a file that is missing or holds none, an empty name or one twice.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({first_line(error)}); expected names of classes.") from error
    names: object = [line.strip() for line in text.strip().splitlines()]
    if text.lstrip().startswith(("[", "{")):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{file} is not readable JSON ({error}); expected a list of names.") from error
        if isinstance(names, dict):
            names = [names.get(str(place)) for place in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names) or not names:
        raise ValueError(f"{file} holds no names of classes; expected one a line, or a JSON list of them.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(names) <= MAX_CLASSES else names
    if twice:
        raise ValueError(f"{file} names the class {twice[0]!r} twice; expected each once, in the order of the outputs.")
    return tuple(names)


def _with_classes(network: StudentConfig, state: dict[str, torch.Tensor], weights: Weights) -> StudentConfig:
    """The network with as many classes as the file's last layer has rows, where that is what does not fit."""
    names = len(weights.class_names)
    if network.task == "classification" and network.classes == 0 and not names:
        raise ValueError(
            f"{network.student_architecture} gives features alone, no classes; give a file of the names of those that "
            "the weights tell apart (--classes), or name a network that has some."
        )
    found = _rows(network, state)
    if names and found and found != names:
        raise ValueError(
            f"{weights.file.name} tells {found:,} classes apart, but {names:,} names of classes were given; expected "
            "one name for each."
        )
    classes = names or network.num_classes or found
    return replace(network, num_classes=classes) if classes else network


def _rows(network: StudentConfig, state: dict[str, torch.Tensor]) -> int | None:
    """How many classes the weights are for, told by the last layer alone; None where they do not say."""
    with weightless():
        model = build_student(network)
    last, own = last_layer(model), model.state_dict()
    state, key = named_alike(own, state), f"{last}.weight"
    if last is None or key not in state or key not in own or state[key].shape[1:] != own[key].shape[1:]:
        return None
    heads = {key, f"{last}.bias"}
    others = [name.partition(" ")[0] for name in fit_weights(model, state).misshapen]
    return len(state[key]) if set(others) <= heads else None
