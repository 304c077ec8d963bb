"""Recording with every failure told in one true sentence: what cannot be recorded, where, and what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import nn

from ..common.modules import unwrapped
from ..networks.strides import set_strides
from ..networks.trace import OTHER_INPUTS, SEVERAL
from ..networks.trails import Size
from .inputs import Arguments, tensors_in
from .recorder import record
from .recording import Recording
from .refusals import RecordingError
from .shape_rules import ShapeRuleError

# What torch says where it is asked for numbers that are not there.
VALUES = re.compile(
    r"meta (\w+ )?tensor|'Meta'|meta device|no data|data.(in)?dependent|on meta|out of meta|fake impl", re.IGNORECASE
)


def recorded(model: nn.Module, arguments: Arguments) -> Recording:
    """`record`, of a model as it is within its wrappers; ValueError in one sentence for whatever goes wrong."""
    model = unwrapped(model)
    _refuse_scripts(model)
    try:
        return record(model, arguments)
    except (ShapeRuleError, RecordingError):
        raise
    except Exception as error:
        raise ValueError(_sentence(model, arguments, error)) from error


def restrided(model: nn.Module, strides: Mapping[str, int], image_size: Size) -> nn.Module:
    """`set_strides`; ValueError in one sentence for whatever goes wrong while the network is tried at these strides."""
    try:
        return set_strides(model, strides, image_size)
    except ValueError:
        raise
    except Exception as error:
        chosen = ", ".join(f"{name} {stride}" for name, stride in strides.items())
        size = "×".join(map(str, image_size))
        raise ValueError(
            f"{type(model).__name__} cannot run on {size} images with the strides {chosen}: {_reason(error)}."
        ) from error


def _refuse_scripts(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{_module(path, module)} is compiled by TorchScript, which runs operators where nobody can watch; "
                "capture the module that it was made of."
            )


def _sentence(model: nn.Module, arguments: Arguments, error: Exception) -> str:
    path = getattr(error, "layer", "")
    try:
        module = model.get_submodule(path)
    except AttributeError:  # a layer inside RED blocks is shown under another path
        module = model
    where, reason = _module(path, module), _reason(error)
    hook = _hook(error)
    if hook:
        return (
            f"A hook on {where.replace('Layer', 'layer', 1)} fails where tensors have shapes but no data ({hook}: "
            f"{reason}); remove it for the capture."
        )
    if isinstance(error, TypeError) and OTHER_INPUTS.search(reason):
        return f"{type(model).__name__} cannot be called with {_told(arguments)}: {reason}; {SEVERAL}."
    if VALUES.search(str(error)):
        return (
            f"{where} needs the values of its tensors, and a capture computes none ({reason}); "
            f"capture a part of the network without it{_parts(model)}."
        )
    return f"{type(model).__name__} cannot run on inputs of shape {_told(arguments)}: {reason}{_within(path)}."


def _module(path: str, module: nn.Module) -> str:
    return f"Layer {path!r} ({type(module).__name__})" if path else f"{type(module).__name__}"


def _within(path: str) -> str:
    return f" (in layer {path!r})" if path else ""


def _parts(model: nn.Module) -> str:
    """Where the network has one, the part that a detector or a pipeline is usually counted by."""
    names = [
        name
        for name in ("backbone", "encoder", "features", "unet")
        if isinstance(getattr(model, name, None), nn.Module)
    ]
    return f", such as its .{names[0]}" if names else ""


def _told(arguments: Arguments) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(arguments)) or "no tensor"


def _reason(error: Exception) -> str:
    """The first sentence of what an error says."""
    lines = str(error).strip().splitlines()
    valued = re.match(r"The register_meta function for (torch\.\w+)\(\)", lines[0]) if lines else None
    if valued:
        return f"{valued[1]} has no shape without them"
    return re.split(r"\.(?= [A-Z]|$)", lines[0])[0] if lines else type(error).__name__


def _hook(error: Exception) -> str:
    """Name of the user's hook that an error comes out of, or nothing."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for caller, frame in pairwise(frames):
        calls = caller.f_code.co_filename.endswith("torch/nn/modules/module.py")
        if calls and caller.f_code.co_name in ("_call_impl", "inner") and frame.f_code.co_name != "forward":
            module = caller.f_locals.get("self")
            hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()] if module is not None else []
            for hook in hooks:
                if getattr(getattr(hook, "__func__", hook), "__code__", None) is frame.f_code:
                    return getattr(hook, "__qualname__", type(hook).__name__)
    return ""
