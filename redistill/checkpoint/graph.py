"""What a classifier computes as Python code of torch's operators alone, for readers without this package.

`torch.export` records it in evaluation mode, for any number of images of one size; `standalone.py`, which lies in the
folder as `network.py`, runs it. A network that cannot be recorded, or whose recording does not compute the same, is
saved without: then its folder opens with this package alone, and its card says so.
"""

from __future__ import annotations

import copy
import logging
import shutil
import warnings
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from ..networks.head import random_images
from . import standalone

GRAPH, LOADER, CONSTANTS = "graph.py", "network.py", "constants.safetensors"
MOST = 16  # recordings that are kept, so that a second network of the same settings is saved at once
ROUNDED = 1e-2  # largest difference of logits, as a share of the largest
Recorded = tuple[str, dict[str, Tensor]]  # code, constants
_KEPT: dict[tuple[str, tuple[int, int, int]], Recorded | None] = {}
_HEAD = '''"""What the network of this folder computes, recorded by torch.export {version}; `network.py` runs it."""

import torch
from torch import device, inf, nan  # noqa: F401

SIZE = {size}  # of an image: channels, height, width
TENSORS = {tensors}


'''


def write_graph(model: nn.Module, folder: Path, size: tuple[int, int, int], key: str) -> bool:
    """Write the files above beside a classifier's weights; whether that could be done.

    size: channels, height and width of its images; key: equal for networks that differ in weights alone.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    found = _recorded(model, size, key)
    if found is None:
        return False
    text, constants = found
    (folder / GRAPH).write_text(text, encoding="utf-8")
    shutil.copyfile(standalone.__file__, folder / LOADER)
    if constants:
        safetensors.torch.save_file(constants, folder / CONSTANTS)
    images = random_images(3, size)
    with torch.no_grad():
        expected, opened = model(images), standalone.load(folder)(images)
    # The weights in the file may be halves, so that both are rounded.
    if torch.allclose(expected, opened, rtol=ROUNDED, atol=ROUNDED * float(expected.abs().max()) + 1e-6):
        return True
    for name in (GRAPH, LOADER, CONSTANTS):
        (folder / name).unlink(missing_ok=True)
    return False


def _recorded(model: nn.Module, size: tuple[int, int, int], key: str) -> Recorded | None:
    """The code of `graph.py`, and tensors that it needs and the weights do not hold; None where there is none."""
    wanted = (key, size)
    if wanted not in _KEPT:
        while len(_KEPT) >= MOST:
            del _KEPT[next(iter(_KEPT))]
        try:
            _KEPT[wanted] = _code(_export(model, size), model, size)
        except Exception:  # whatever code meets a tensor without values
            _KEPT[wanted] = None
    return _KEPT[wanted]


def _export(model: nn.Module, size: tuple[int, int, int]) -> torch.export.ExportedProgram:
    batch = {0: torch.export.Dim("batch", min=1)}
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, (torch.zeros(2, *size),), dynamic_shapes=(batch,), strict=False)
    finally:
        logger.setLevel(level)


def _code(program: torch.export.ExportedProgram, model: nn.Module, size: tuple[int, int, int]) -> Recorded | None:
    """Raises whatever torch raises of a graph that is no plain code."""
    graph = copy.deepcopy(program.graph)
    graph.set_codegen(fx.graph.CodeGen())
    weights, constants, shapes = model.state_dict(), {}, {}
    for entry in program.graph_signature.input_specs:
        if entry.kind == InputKind.USER_INPUT:
            continue
        name = entry.target
        value = weights[name] if name in weights else program.constants[name]
        if name not in weights:
            constants[name] = value.detach().clone().contiguous()
        shapes[name] = tuple(value.shape)
    (output,) = graph.find_nodes(op="output")
    (logits,) = output.args[0]
    output.args = (logits,)
    if any(node.op in ("call_module", "get_attr") for node in graph.nodes):
        return None
    code = graph.python_code("self").src.strip().replace("def forward(self, ", "def forward(", 1)
    listed = "{\n" + "".join(f"    {name!r}: {shape},\n" for name, shape in shapes.items()) + "}"
    head = _HEAD.format(version=torch.__version__.partition("+")[0], size=size, tensors=listed)
    return f"{head}{code}\n", constants
