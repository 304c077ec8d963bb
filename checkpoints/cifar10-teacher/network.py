"""The classifier in this folder, opened with torch alone:

    import network  # with this folder on Python's path
    model = network.load()  # float32 images (N, channels, height, width) from -1 to 1 to logits (N, classes)
    names = network.class_names()

`graph.py` beside this file is what the network computes, as torch.export recorded it in evaluation mode, one operator a
line; `model.safetensors` holds its weights, and `config.json` the rest. All of it is text and tensors: nothing here is
unpickled, and no package but torch is needed. redistill wrote this; https://arxiv.org/abs/2406.03744 is the method.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Network(nn.Module):
    """The network of `graph.py` with its tensors, for inference: the graph was recorded in evaluation mode."""

    def __init__(self, graph, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.graph = graph
        self.names = list(graph.TENSORS)
        for place, name in enumerate(self.names):
            self.register_buffer(f"tensor_{place}", tensors[name])

    def forward(self, images: Tensor) -> Tensor:
        size = tuple(images.shape[1:])
        if images.ndim != 4 or size != self.graph.SIZE or len(images) < 1:
            expected = ", ".join(map(str, self.graph.SIZE))
            raise ValueError(f"Images have shape {tuple(images.shape)}; expected (N, {expected}).")
        return self.graph.forward(*(getattr(self, f"tensor_{place}") for place in range(len(self.names))), images)


def load(folder: str | Path = HERE) -> Network:
    """The network of a folder, on the CPU, fp32, in evaluation mode; ValueError for weights that do not fit it."""
    folder = Path(folder)
    code = folder / "graph.py"
    graph = ModuleType("graph")
    # Not imported, which would leave what Python compiles in the folder.
    exec(compile(code.read_bytes(), str(code), "exec"), vars(graph))
    tensors = read_safetensors(folder / "model.safetensors")
    if (folder / "constants.safetensors").exists():
        tensors |= read_safetensors(folder / "constants.safetensors")
    for name, shape in graph.TENSORS.items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            found = tuple(tensors[name].shape) if name in tensors else "none"
            raise ValueError(f"{folder} holds {name!r} of shape {found}; expected {shape}; copy the folder again.")
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return Network(graph, floats).eval()


def class_names(folder: str | Path = HERE) -> list[str]:
    """Names of the classes in the order of the outputs; empty where they were not known."""
    return json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("class_names", [])


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file: 8 bytes that say how long the JSON behind them is, that, and the data."""
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        head = json.loads(data[8:start])
        found = {}
        for name, entry in head.items():
            if name != "__metadata__":
                low, high = entry["data_offsets"]
                part = data[start + low : start + high]
                flat = torch.frombuffer(part, dtype=DTYPES[entry["dtype"]]) if part else torch.empty(0)
                found[name] = flat.reshape(entry["shape"])
        return found
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{file} is no whole safetensors file ({error}); copy the whole folder again.") from error
