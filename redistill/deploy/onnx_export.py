"""`redistill export NAME --to onnx`: the file is made, run in onnxruntime beside the network, and then written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..common.disk import writing
from ..common.files import replaced_file
from .file_facts import described, draws, figures
from .judged import NO_ACCURACY, Export, checked
from .onnx_file import Exported, example, set_metadata, to_onnx, write_proto
from .opened import Opened, pictures_of
from .packages import check_packages
from .runtimes import Answers, run_content

if TYPE_CHECKING:
    from onnx import ModelProto


def export_onnx(opened: Opened, file: Path, pixels: bool = False, softmax: bool = False) -> Export:
    """Write the network as `file`, an .onnx for one image at a time, whole or not at all.

    pixels: it takes uint8 RGB from 0 to 255, and normalises inside; else float32 from -1 to 1. softmax: it gives
    probabilities; else logits. Both are for classifiers. A diffusion U-Net takes images and a timestep.

    The file is first run in a process that has onnxruntime and no PyTorch: on 64 test pictures its outputs must be
    those of the network, and its accuracy is that of the whole test split. Raises ValueError, in one sentence, for
    missing packages, networks and operators that ONNX lacks, and a file that computes something else; OSError for a
    disk that does not take it.
    """
    check_packages("onnx")
    diffusion = draws(opened, pixels, softmax)
    network = Exported(opened.model, pixels, softmax).eval()
    proto = to_onnx(network, example(opened, pixels), output_name(diffusion, softmax))
    set_metadata(proto, described(opened, pixels, softmax))
    split = NO_ACCURACY if diffusion else pictures_of(opened)
    with writing(file):
        found = checked(opened, network, lambda pictures: run_proto(proto, pictures, opened.name), split, diffusion)
        set_metadata(proto, figures(found))
        with replaced_file(file) as part:
            write_proto(proto, part)
    return Export(file=file, bytes=file.stat().st_size, **found)


def output_name(diffusion: bool, softmax: bool) -> str:
    return "output" if diffusion else "probabilities" if softmax else "logits"


def run_proto(proto: ModelProto, pictures: np.ndarray, name: str) -> Answers:
    """The answers of what is not written yet."""
    return run_content(proto.SerializeToString(), f"{name}.onnx", pictures, "onnxruntime")
