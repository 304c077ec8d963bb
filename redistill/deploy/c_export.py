"""`redistill export NAME --to c`: a classifier in int8 as one C file for microcontrollers, run before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..common.disk import writing
from ..common.files import replaced_file
from ..data.augmentation import normalize
from ..memory import capture_images
from ..memory.patch_flow import map_flow
from ..memory.patching import count_patched
from ..networks.patches import Stage
from ..networks.pooling_points import check_image_size
from .c_arena import Places, placed
from .c_compiler import Weighed, check_compiler, compiler_version, run_program, weighed
from .c_source import EXAMPLE, source_of
from .int8_graph import Map
from .int8_patches import in_patches
from .int8_step import IntegerNetwork
from .int8_steps import read_steps
from .judged import COMPARED, Export, compared, counted_bytes
from .onnx_file import Exported
from .onnx_int8 import in_int8, ranges_from
from .opened import Opened, pictures_of
from .packages import check_packages
from .runtimes import Answers

if TYPE_CHECKING:
    from onnx import ModelProto

MOST_APART = 1.0  # steps of 256 from onnxruntime, their mean, that are rounding; deep networks carry single ones on


@dataclass(frozen=True)
class CExport(Export):
    """A C file that was written. `heap_bytes` is its static RAM, as the compiler's `size` weighs it."""

    flash_bytes: int  # code and constants, compiled here
    macs: int  # multiplications for one picture
    steps_apart: int  # the most that any of its numbers lies from onnxruntime's, of 256, on `compared` pictures
    same_class: int  # of those, how many get the class that onnxruntime gives


def export_c(opened: Opened, file: Path, seed: int = 0, patch: tuple[str, int] | None = None) -> CExport:
    """Write a classifier as a C99 file that needs nothing but <stdint.h>, whole or not at all.

    It takes a picture of uint8 RGB from 0 to 255 and gives uint8 numbers for the logits. Weights and activations are
    those of `export_int8` of kind "full" and the same `seed`, learnt ranges included. All maps, input and output
    included, lie in one static arena. The file is first compiled without warnings, its RAM weighed, and run on the
    whole test split: on 64 pictures its numbers must be those of onnxruntime without its optimizations, up to rounding.
    With `patch`, ("layer1", 4), all up to that layer is computed in 4 x 4 patches: the same numbers in less memory, for
    more multiplications.

    Raises ValueError, in one sentence, for diffusion networks, a layer up to which it cannot be computed in patches, a
    missing C compiler, missing packages, operators without a kernel, by name, networks that have no training pictures
    to calibrate on, and a program that computes something else; OSError for a disk that does not take it.
    """
    with writing(file):
        quantized, program, places = integer_program(opened, seed, patch)
        class_names = opened.metadata.class_names
        source = source_of(program, places, opened.name, class_names, [])
        weight = weighed(source)
        if weight.ram_bytes != places.bytes:
            raise ValueError(f"The C compiler needs {weight.ram_bytes:,} bytes of RAM; {places.bytes:,} were planned.")
        run = _Run(program, source)
        found = compared(opened, Exported(opened.model, pixels=True).eval(), run, pictures_of(opened), runtime="C by")
        steps, same = _beside(quantized, program.output, run)
        if steps.mean() > MOST_APART:
            raise ValueError(
                f"{opened.name} computes something else in C: its numbers lie {steps.mean():.1f} of 256 steps from "
                f"onnxruntime's, their mean; nothing was written."
            )
        found |= {"heap_bytes": weight.ram_bytes, "peak_bytes": counted_bytes(opened, "C", patch)}
        facts = _facts(opened, found, weight, seed, patch)
        with replaced_file(file) as part:
            part.write_text(source_of(program, places, opened.name, class_names, facts), encoding="utf-8")
    told = {
        "flash_bytes": weight.flash_bytes,
        "macs": program.macs,
        "steps_apart": int(steps.max()),
        "same_class": same,
    }
    return CExport(file=file, bytes=file.stat().st_size, **found, **told)


def integer_program(
    opened: Opened, seed: int = 0, patch: tuple[str, int] | None = None
) -> tuple[ModelProto, IntegerNetwork, Places]:
    """The network in int8 as onnxruntime takes it, as steps of integers, and where their maps lie; `patch` as above.

    Raises what `export_c` says, but for what the program computes.
    """
    check_packages("onnx")
    check_compiler()
    if opened.metadata.student.task == "diffusion":
        raise ValueError(f"{opened.name} is a diffusion network; an export to C is for classifiers.")
    stage = stage_up_to(opened, *patch) if patch else None
    quantized, _ = in_int8(opened, "full", seed)
    program = read_steps(quantized, normalize(torch.arange(256, dtype=torch.uint8)).numpy())
    if stage:
        program = in_patches(program, stage, *patch)
    return quantized, program, placed(program)


def stage_up_to(opened: Opened, upto: str, grid: int) -> Stage:
    """What is computed in patches; ValueError where `memory --patch` says that it cannot be."""
    tape = capture_images(opened.model, opened.metadata.student.image_size)
    count_patched(tape, upto, grid, dtype="int8")
    return map_flow(tape.blueprint, tape.setting()).stage(upto)[1]


@dataclass
class _Run:
    """Runs the program, and keeps what it gave for the pictures that are compared."""

    program: IntegerNetwork
    source: str
    pictures: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def __call__(self, pictures: np.ndarray) -> Answers:
        numbers, latency = run_program(self.source, EXAMPLE, pictures, self.program.output.bytes)
        self.pictures, self.numbers = pictures[:COMPARED], numbers[:COMPARED]
        return Answers(self.program.output.values()[numbers].astype(np.float32), latency, None, (), compiler_version())


def _beside(quantized: ModelProto, output: Map, run: _Run) -> tuple[np.ndarray, int]:
    """How many steps each of the program's numbers lies from onnxruntime's, and how many pictures get the same class.

    Without its optimizations, since its int8 kernels for processors without VNNI let sums of two products saturate.
    """
    from .onnx_runner import open_session  # which needs onnxruntime

    session = open_session(quantized.SerializeToString(), optimized=False)
    images = normalize(torch.from_numpy(run.pictures)).numpy()
    theirs = output.rounded(np.concatenate([session.run(None, {"images": image[None]})[0] for image in images]))
    steps = np.abs(run.numbers.astype(int) - theirs)
    return steps, int((run.numbers.argmax(1) == theirs.argmax(1)).sum())


def _facts(
    opened: Opened, found: dict[str, Any], weight: Weighed, seed: int, patch: tuple[str, int] | None
) -> list[str]:
    """What the file says of itself."""
    student, metadata = opened.metadata.student, opened.metadata
    height, width = check_image_size(student.image_size)
    pooled = f" at the strides {student.strides}" if student.strides else ""
    right = found["test_accuracy"]
    judged = f", right on {100 * right:.2f} % of {found['pictures']:,} test pictures" if right is not None else ""
    return [
        f"{opened.name}, exported by ReDistill Studio: {student.student_architecture}{pooled}, for {height} x {width} "
        f"pixels and {len(metadata.class_names)} classes of {metadata.dataset or 'unknown pictures'}.",
        f"In int8, {ranges_from(opened, seed)}{judged}.",
        *([f"Computed in {patch[1]} x {patch[1]} patches up to {patch[0]}."] if patch else []),
        f"Static RAM: {weight.ram_bytes:,} bytes. Code and constants: {weight.flash_bytes:,} bytes, as compiled by "
        f"{compiler_version()}.",
    ]
