"""Checkpoints: a folder of weights (safetensors, never pickles), `config.json` and a model card.

A classifier's folder holds `model.safetensors`, and `network.py` with `graph.py`, which open it with torch alone. A
diffusion network's folder is a diffusers pipeline, with our `config.json` beside its `model_index.json`.
"""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from ..common.files import read_json, replaced_folder
from ..common.modules import weightless
from ..common.sentences import first_line
from ..networks.pooling_points import check_image_size, input_channels
from ..networks.schedule import noise_scheduler
from ..networks.student import StudentConfig, build_student
from ..networks.weights import check_finite, check_fractions
from .graph import write_graph
from .metadata import OF_RUNS, Metadata, read_metadata, write_metadata
from .pipeline import INDEX, Scheduler, load_unet, write_pipeline
from .sources import CONFIG, MODEL, find_checkpoint


def save(
    model: nn.Module,
    metadata: Metadata,
    folder: str | Path,
    scheduler: Scheduler | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write the checkpoint folder and return it, whole or not at all.

    `scheduler` is the noise schedule of a diffusion network (default: that of networks trained from scratch). `dtype`
    is that of the weights in the file (default: the model's own): torch.float16 halves it, and `load` gives fp32 again.
    A checkpoint that stood there is replaced as a whole; a folder that holds something else is a ValueError. A full
    disk or a read-only place raises OSError and leaves what was there.
    """
    folder = Path(folder)
    if folder.exists() and not _is_replaceable(folder):
        raise ValueError(f"{folder} exists and is no checkpoint; choose a new or an empty folder.")
    if dtype is not None:
        model = copy.deepcopy(model).to(dtype)
    with replaced_folder(folder) as part:
        if metadata.student.task == "diffusion":
            write_pipeline(model, scheduler or noise_scheduler(metadata.prediction_type), part)
        else:
            state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
            safetensors.torch.save_file(state, part / MODEL)
            size = (input_channels(model), *check_image_size(metadata.student.image_size))
            write_graph(model, part, size, json.dumps(metadata.student.to_dict()))
        write_metadata(metadata, part)
        for file in part.rglob("*.safetensors"):  # which are made for their owner alone, the rest as the umask says
            file.chmod((part / CONFIG).stat().st_mode)
    return folder


def _is_replaceable(folder: Path) -> bool:
    """Whether nothing but a checkpoint would be lost: ours, a pipeline of diffusers, or an empty folder.

    Runs, and models of other libraries, have a config.json too: ours tells its format.
    """
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if names & OF_RUNS:
        return False
    with contextlib.suppress(ValueError):
        return not names or INDEX in names or "format" in read_json(folder / CONFIG)
    return False


def load(folder: str | Path) -> nn.Module:
    """The network of a checkpoint folder, on the CPU, fp32, in evaluation mode. `folder` may name a shipped checkpoint.

    Raises ValueError, naming the file, for a missing, damaged or foreign one; nothing is ever unpickled.
    """
    folder = find_checkpoint(folder)
    metadata = read_metadata(folder)
    if metadata.student.task == "diffusion":
        unet = load_unet(folder)
        _check_unet(unet, metadata.student, folder)
        return unet
    model = build_student(metadata.student)
    path = folder / MODEL
    if not path.is_file():
        raise ValueError(f"Checkpoint {folder} has no {MODEL}; copy the whole folder.")
    try:
        state = safetensors.torch.load_file(path)
        model.load_state_dict(state)
        check_fractions(model, state, str(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of {metadata.student.student_architecture!r} as config.json describes "
            f"it ({first_line(error)}); copy the folder again."
        ) from error
    check_finite(state, path)
    return model.eval()


def _check_unet(unet: nn.Module, student: StudentConfig, folder: Path) -> None:
    """ValueError where config.json tells of other strides or RED blocks than the network beside it has."""
    if student.unknown_unets:  # of before these were stored: what it was made from is wherever that came from
        return
    with weightless():
        told = build_student(student)
    for name in ("pooling_strides", "red", "red_sites"):
        if unet.config[name] != told.config[name]:
            raise ValueError(
                f"{folder / CONFIG} describes a network with {name} {told.config[name]}, but "
                f"{folder / 'unet'} holds one with {unet.config[name]}; copy the whole folder again."
            )
