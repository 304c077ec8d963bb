"""The files that hold a U-Net's weights in a folder of diffusers: one, or shards of it with an index; whole or fp16."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..common.files import read_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
_STEM = "diffusion_pytorch_model"
# As diffusers names them, those that come first are taken: whole numbers before halves, one file before shards.
_SINGLE = (WEIGHTS, f"{_STEM}.fp16.safetensors")
_INDEXES = (f"{_STEM}.safetensors.index.json", f"{_STEM}.safetensors.index.fp16.json")
PATTERNS = (*_SINGLE, *_INDEXES, f"{_STEM}-*.safetensors", f"{_STEM}.fp16-*.safetensors")


def find_weight_files(folder: Path) -> list[Path]:
    """The files of a U-Net's folder that hold its weights, the index of shards first; none where there are none.

    Raises ValueError for an index that is damaged or names a file that is not beside it.
    """
    for single, index in zip(_SINGLE, _INDEXES, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return [folder / index, *_shards(folder / index)]
    return []


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights in a U-Net's folder by name, copies; ValueError, naming the file, where they cannot be read."""
    files = [file for file in find_weight_files(folder) if file.suffix == ".safetensors"]
    if not files:
        pickles = sorted(other.name for other in folder.glob("*.bin"))
        remedy = (
            f"{pickles[0]} is a pickle, which is never loaded; save it as safetensors" if pickles else "save it again"
        )
        raise ValueError(f"{folder / WEIGHTS} does not exist; {remedy}.")
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            # Copies: a mapped file could be replaced or cut short while the network lives.
            weights |= {name: value.clone() for name, value in load_file(file).items()}
        except SafetensorError as error:
            raise ValueError(f"{file} is truncated or is no safetensors file ({error}).") from error
    return weights


def _shards(index: Path) -> list[Path]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{index} has no 'weight_map' of file names; copy the whole folder again.")
    files = [index.parent / name for name in sorted(set(places.values()))]
    for file in files:
        if file.parent != index.parent or file.suffix != ".safetensors" or not file.is_file():
            raise ValueError(f"{index} names {file.name!r}, which is no safetensors file beside it; copy all of them.")
    return files
