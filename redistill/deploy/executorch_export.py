"""`redistill export NAME --to executorch`: the file is made, run by ExecuTorch beside the network, and then written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.disk import writing
from ..common.files import replaced_file
from .executorch_file import to_executorch
from .file_facts import described, draws
from .judged import NO_ACCURACY, Export, checked
from .onnx_file import Exported, example
from .opened import Opened, pictures_of
from .packages import check_packages
from .runtimes import Answers, run_content


def export_executorch(opened: Opened, file: Path, pixels: bool = False, softmax: bool = False) -> Export:
    """Write the network as `file`, a .pte for one image at a time, whole or not at all.

    pixels, softmax, what is checked before and what is raised are those of `export_onnx`. The memory that the program
    plans, the input apart, is `heap_bytes`, and `peak_bytes` what our tape says of it. What the file says of the
    network its method "description" gives, as JSON. ExecuTorch's portable operators take a second for what onnxruntime
    does in a hundredth, so that a large test split takes minutes.
    """
    check_packages("executorch")
    diffusion = draws(opened, pixels, softmax)
    network = Exported(opened.model, pixels, softmax).eval()
    program = to_executorch(network, example(opened, pixels), described(opened, pixels, softmax))
    split = NO_ACCURACY if diffusion else pictures_of(opened)
    with writing(file):
        found = checked(
            opened, network, lambda pictures: run_pte(program.content, pictures), split, diffusion, "ExecuTorch"
        )
        with replaced_file(file) as part:
            part.write_bytes(program.content)
    found["heap_bytes"] = program.arena_bytes
    return Export(file=file, bytes=file.stat().st_size, **found)


def run_pte(content: bytes, pictures: np.ndarray) -> Answers:
    """The answers of what is not written yet."""
    return run_content(content, "network.pte", pictures, "ExecuTorch")
