"""Files of weights that anybody saved: read, brought to plain names, and loaded where they fit."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..common.sentences import Note, first_line, listed
from .head import last_layer

# What torch.load raises for a file that is cut, damaged or of another kind.
DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError)
INSIDE = ("state_dict", "model", "model_state_dict", "ema")  # names under which training scripts save the weights
PARALLEL, COMPILED = "module.", "_orig_mod."  # that DataParallel and averages, and torch.compile, put before names
COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside its "module."
VARIANCE = "running_var"  # of a batch norm
NAMED = 5  # names that a sentence lists


def file_state(file: Path, only_safetensors: bool = False) -> dict[str, Tensor]:
    """The weights in a `.safetensors` file, or in one of `torch.save`: a state_dict, bare or under one of INSIDE.

    What DataParallel and torch.compile put before names is left out. Only tensors are unpickled, and nothing where
    `only_safetensors` is set. Of several a Note tells which is taken. Raises ValueError for a file that is missing or
    holds anything else.
    """
    if file.suffix != ".safetensors" and only_safetensors:
        raise ValueError(f"{file.name} is no .safetensors file; save the weights with safetensors.torch.save_file.")
    if _is_script(file):
        raise ValueError(
            f"{file} is a TorchScript program, which holds more than weights; save model.state_dict() of the network "
            "that it was made of."
        )
    try:
        if file.suffix == ".safetensors":
            return plain_names(safetensors.torch.load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds no weights that can be read: it is damaged, or a pickle of more than tensors, which is "
            "never loaded; save model.state_dict() alone."
        ) from error
    except (OSError, SafetensorError, *DAMAGED) as error:
        # What unpickling meets in a file of another kind is a byte that it looked up, or worse.
        is_told = not isinstance(error, (LookupError, TypeError, AttributeError))
        reason = first_line(error) if is_told else "it is no file of torch.save"
        raise ValueError(f"{file} holds no weights that can be read ({reason}).") from error
    state, taken, others = _inside(state)
    if not isinstance(state, Mapping) or not _is_state(state):
        kind = type(state).__name__
        raise ValueError(
            f"{file} holds {kind}; expected the tensors of a state_dict by name, bare or under one of {list(INSIDE)}."
        )
    if others:
        told = f"{file.name} holds several networks' weights: {taken!r} is taken, not {listed(others, NAMED)}"
        warnings.warn(f"{told}; save one alone to choose.", Note, stacklevel=2)
    return plain_names(state)


def _is_script(file: Path) -> bool:
    """Whether a file is of torch.jit.save, which torch.load would warn of and then refuse."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _inside(state: Any) -> tuple[Any, str, list[str]]:
    """What a training script saved under the names of INSIDE, the name of it, and names of other weights beside it."""
    taken, others = "", []
    while isinstance(state, Mapping) and (inner := [key for key in INSIDE if isinstance(state.get(key), Mapping)]):
        taken = inner[0]
        beside = (key for key in state if key != taken and isinstance(state[key], Mapping))
        others += [repr(key) for key in beside if _is_state(_inside(state[key])[0])]
        state = state[taken]
    return state, taken, others


def _is_state(state: Mapping[Any, Any]) -> bool:
    return bool(state) and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that the network itself has: without "_orig_mod." anywhere and "module." before all."""
    plain = {key.replace(COMPILED, ""): value for key, value in state.items()}
    while (names := [key for key in plain if key != COUNTER]) and all(key.startswith(PARALLEL) for key in names):
        plain = {key.removeprefix(PARALLEL): plain[key] for key in names}
    return plain


class Fit(NamedTuple):
    """Which of a file's weights a network can take."""

    fitting: dict[str, Tensor]
    missing: list[str]  # of the network, not in the file
    unknown: list[str]  # of the file, not in the network
    misshapen: list[str]  # in both, with both shapes

    @property
    def is_whole(self) -> bool:
        """Whether file and network have the same names and shapes."""
        return not (self.missing or self.unknown or self.misshapen)

    def __str__(self) -> str:
        parts = [
            f"{len(names):,} {what} ({listed(names, NAMED)})"
            for names, what in (
                (self.missing, "missing in it"),
                (self.unknown, "unknown to the network"),
                (self.misshapen, "of another shape"),
            )
            if names
        ]
        total = len(self.fitting) + len(self.missing) + len(self.misshapen)
        return f"{len(self.fitting):,} of the network's {total:,} names fit; {', '.join(parts)}"


def fit_weights(model: nn.Module, state: Mapping[str, Tensor]) -> Fit:
    """Compare weights with a network's own names and shapes, under the names of `named_alike`."""
    own = model.state_dict()
    state = named_alike(own, state)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    fitting = {key: state[key] for key, value in own.items() if shapes.get(key) == tuple(value.shape)}
    misshapen = [
        f"{key} {_shape(value.shape)}, {_shape(shapes[key])} in the file"
        for key, value in own.items()
        if key in state and key not in fitting
    ]
    missing = [key for key in own if key not in state]
    return Fit(fitting, missing, [key for key in state if key not in own], misshapen)


def named_alike(own: Collection[str], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under a network's `own` names where none has one as it stands: within `module`, where its own layers all
    lie, or without what all names begin with, such as the "model." of a Lightning module."""
    if not set(own) & set(state) and _all_inside(own):
        return {PARALLEL + key: value for key, value in state.items()}
    shorter = state
    while not set(own) & set(shorter):
        firsts = {key.partition(".")[:2] for key in shorter}
        if len(firsts) != 1 or not all(dot for _, dot in firsts):
            return state
        shorter = {key.partition(".")[2]: value for key, value in shorter.items()}
    return shorter


class NotAllFitError(ValueError):
    """Weights that are not those of a network; `some_do` says whether some of them fit."""

    def __init__(self, sentence: str, some_do: bool) -> None:
        super().__init__(sentence)
        self.some_do = some_do


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str, partial: bool = False) -> Fit:
    """Load weights in place; NotAllFitError, listing names, where some do not fit. `partial` takes those that do.

    Where none fit, or a number is not finite, it is a ValueError in any case.
    """
    fit = fit_weights(model, state)
    if not fit.is_whole and not (partial and fit.fitting):
        remedy = "" if partial else "; name the network that they are of"
        raise NotAllFitError(f"{source} does not hold the weights of this network: {fit}{remedy}.", bool(fit.fitting))
    broken = _broken(fit.fitting)
    if broken:
        raise ValueError(f"{source} holds numbers that are not finite, in {listed(broken, NAMED)}; they are of no use.")
    _check_variances(fit.fitting, source, "expected none below 0")
    check_fractions(model, fit.fitting, source)
    model.load_state_dict(fit.fitting, strict=False)
    return fit


def check_finite(state: Mapping[str, Tensor], place: Path) -> None:
    """ValueError, naming the `place` that the weights are from, where one of them is infinite or not a number, or a
    variance of batch norm negative."""
    broken = _broken(state)
    if broken:
        raise ValueError(f"{place} holds {broken[0]!r} with values that are no numbers; copy the folder again.")
    _check_variances(state, str(place), "copy the folder again")


def _check_variances(state: Mapping[str, Tensor], source: str, remedy: str) -> None:
    """ValueError, naming it, where a batch norm's variance is negative: its root is no number."""
    negative = [name for name, value in state.items() if name.split(".")[-1] == VARIANCE and (value < 0).any()]
    if negative:
        raise ValueError(f"{source} holds a negative variance in {listed(negative, NAMED)}; {remedy}.")


def _broken(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]


def check_fractions(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """ValueError, naming them, for weights that are whole numbers where the network's have fractions."""
    own = model.state_dict()
    whole = [name for name, value in state.items() if own[name].is_floating_point() and not value.is_floating_point()]
    if whole:
        raise ValueError(
            f"{source} holds whole numbers ({state[whole[0]].dtype}) in {listed(whole, NAMED)}, where the network has "
            "fractions; expected the weights from before they were quantized."
        )


def load_but_head(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights in place; a head for another number of classes stays as it was drawn.

    Raises ValueError when anything but the last layer does not fit.
    """
    last, own = last_layer(model), model.state_dict()
    keys = () if last is None else (f"{last}.weight", f"{last}.bias")
    state = named_alike(own, state)
    kept = {key: own[key] for key in keys if key in state and own[key].shape != state[key].shape}
    load_weights(model, {**state, **kept}, source)


def _all_inside(own: Iterable[str]) -> bool:
    names = list(own)
    return bool(names) and all(key.startswith(PARALLEL) for key in names)


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a number"
