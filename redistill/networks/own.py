"""Networks of one's own: made by a function in a file, or exported as a program by torch.export.

A file's function is the user's own code, and runs when the network is built. So these names are for the library and
the shell; the page takes none of them.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..common.modules import weightless
from .info import NetworkInfo, Size
from .names import FILE, PROGRAM
from .program import image_of, network_of, open_program

USUAL_SIDE, USUAL_CLASSES = 224, 1000  # pixels and classes, where nothing tells of others


def own_network(name: str) -> NetworkInfo:
    """The network of such a name, its path made absolute; the file is not opened before the network is built."""
    if name.endswith(PROGRAM):
        path = _absolute(name)
        return _program(str(path))
    path, colon, function = name.removeprefix(FILE).rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise ValueError(f"Network {name[:200]!r} names no function; expected {FILE}PATH.py:FUNCTION.")
    return _from_file(str(_absolute(path)), function)


def _absolute(path: str) -> Path:
    return Path(path).expanduser().resolve()


@lru_cache(maxsize=64)  # one entry for one name, so that others can keep what they made of it
def _from_file(path: str, function: str) -> NetworkInfo:
    name = f"{FILE}{path}:{function}"
    title = f"{function} of {Path(path).name}"
    return NetworkInfo(name, title, "classification", None, partial(_build, path, function), num_classes=None)


def _build(path: str, function: str, classes: int | None, channels: int, size: Size | None) -> nn.Module:
    """What the function returns; it is given `num_classes`, `in_channels` and `image_size` where it takes them."""
    where = f"{FILE}{path}:{function}"
    with _in_one_sentence(where):
        made = _function(path, function)
        given = {"num_classes": classes, "in_channels": channels, "image_size": size}
        taken = inspect.signature(made).parameters
        needed = "num_classes" in taken and taken["num_classes"].default is inspect.Parameter.empty
        given["num_classes"] = USUAL_CLASSES if needed and classes is None else classes
        model = made(**{name: value for name, value in given.items() if name in taken and value is not None})
    if not isinstance(model, nn.Module):
        raise ValueError(f"{where} returns {type(model).__name__}; expected a torch.nn.Module.")
    return model


@contextmanager
def _in_one_sentence(where: str):
    """Whatever the user's code raises, as a ValueError that names it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where} fails: {_first_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"{where} fails: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]


def _function(path: str, function: str) -> Callable[..., Any]:
    file = Path(path)
    if not file.is_file():
        raise ValueError("there is no such file; give the path of a Python file.")
    made = getattr(_module(path, file.stat().st_mtime_ns), function, None)
    if not callable(made):
        raise ValueError(f"the file has no function {function!r}.")
    return made


@lru_cache(maxsize=16)  # run once for each state of the file
def _module(path: str, changed: int) -> Any:
    """The file as a module; what lies beside it can be imported meanwhile, as in a script."""
    name = f"redistill_own_{Path(path).stem}_{abs(hash((path, changed)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the file look there
    sys.path.insert(0, str(Path(path).parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(Path(path).parent))
    return module


@lru_cache(maxsize=64)
def _program(path: str) -> NetworkInfo:
    build = partial(_build_program, path)
    return NetworkInfo(path, Path(path).name, "classification", None, build, num_classes=None)


def _build_program(path: str, classes: int | None, channels: int, size: Size | None) -> nn.Module:
    """The program's network with fresh weights, in those of its layers that have a way to draw them."""
    with torch.device("cpu"):
        model = load_program(path)
    for module in model.modules():
        if hasattr(module, "reset_parameters") and module.parameters(recurse=False):
            module.reset_parameters()
    return model.to(torch.get_default_device())


def load_program(path: str | Path) -> nn.Module:
    """The network of a program of torch.export with the weights in its file; ValueError for what is none."""
    return network_of(open_program(path))


@lru_cache(maxsize=64)
def own_size(name: str) -> int | Size:
    """The size of images that a network of one's own is for: told by a program, and by a file's network where it has a
    `default_cfg` as timm's have; else `USUAL_SIDE`."""
    if name.endswith(PROGRAM):
        found = image_of(open_program(name))
        size = found[1] if found else (USUAL_SIDE, USUAL_SIDE)
    else:
        with weightless():
            model = own_network(name).build(None, 3, None)
        told = getattr(model, "default_cfg", None)
        size = tuple(told.get("input_size", ())[1:]) if isinstance(told, dict) else ()
        size = size if len(size) == 2 else (USUAL_SIDE, USUAL_SIDE)
    return size[0] if size[0] == size[1] else size
