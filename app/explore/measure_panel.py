"""Measure on this machine: one real pass of teacher and student, beside the figures that Explore computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr

from redistill.common.modules import weightless
from redistill.common.sentences import first_line
from redistill.memory import MemoryProfile
from redistill.memory.comparison import compare
from redistill.memory.measure import measure_peak
from redistill.networks.pooling_points import check_image_size
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.trace import example_inputs

from ..words.numbers import format_bytes, format_count, format_pixels
from ..words.settings import describe_student
from .asked import Asked
from .link import Settings

MAX_MACS = 25 * 10**9  # of one pass; a few seconds on two cores
MAX_BYTES = 2**31  # weights and activations together, about what a small machine has to spare


@dataclass(frozen=True)
class Measurement:
    """The peak of one network, in bytes: what the allocator saw, and what Explore computes as PyTorch allocates."""

    name: str
    computed: int
    measured: int

    @property
    def difference(self) -> int:
        """Bytes measured beyond those computed."""
        return self.measured - self.computed


def build() -> dict[str, gr.components.Component]:
    """A card with the button and its result, in the Blocks context where it should stand."""
    with gr.Column(elem_classes="card"):
        gr.HTML(_INTRODUCTION)
        return {
            "measure": gr.Button("Measure on this machine", size="sm", elem_id="measure"),
            "measured": gr.HTML(elem_id="measured"),
        }


def measure(student: StudentConfig, batch: int = 1) -> list[Measurement]:
    """Teacher and student, each built and run once on the CPU: one batch of images, fp32, weights of zeros.

    Raises ValueError for settings that do not fit, for networks that would take long or much memory, and when the
    machine has no memory left for one.
    """
    found = compare(student, "eager", batch=batch)
    teacher = StudentConfig(student.teacher, student.image_size, red=None, in_channels=student.in_channels)
    networks = {"Teacher": (teacher, found.teacher), "Student": (student, found.student)}
    for name, (_, profile) in networks.items():
        _check_cost(name, profile, student.image_size)
    return [
        Measurement(name, profile.peak_bytes, _measured_peak(config, batch))
        for name, (config, profile) in networks.items()
    ]


def _check_cost(name: str, profile: MemoryProfile, image_size: int | Sequence[int]) -> None:
    size = format_pixels(image_size)
    if profile.macs > MAX_MACS:
        raise ValueError(
            f"One pass of the {name.lower()} at {size} takes {format_count(profile.macs)} "
            f"multiply-accumulates, which would be long here; expected at most {format_count(MAX_MACS)}. "
            "Choose a smaller image."
        )
    needed = profile.weight_bytes + profile.peak_bytes
    if needed > MAX_BYTES:
        raise ValueError(
            f"The {name.lower()} at {size} needs {format_bytes(needed)} with its weights; expected at most "
            f"{format_bytes(MAX_BYTES)}. Choose a smaller image."
        )


def _measured_peak(config: StudentConfig, batch: int) -> int:
    with weightless():  # drawing random weights takes longer than the pass; how much is alive is the same
        network = build_student(config)
    try:
        network = network.to_empty(device="cpu")
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.data.zero_()
        size = (batch, config.in_channels, *check_image_size(config.image_size))
        return measure_peak(network, example_inputs(network, size, "cpu"))
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"This machine could not run it: {first_line(error)}.") from error


_INTRODUCTION = (
    '<h3 class="card-title">Check the figures</h3><p class="subline">Runs teacher and student once in fp32, with '
    "as many images as are counted, and adds up what PyTorch allocates.</p>"
)


def _table(student: StudentConfig, measurements: Sequence[Measurement], batch: int) -> str:
    rows = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{getattr(m, name):,}</td>' for m in measurements)}</tr>"
        for name in ("computed", "measured", "difference")
    )
    names = "".join(f"<th>{escape(m.name)}</th>" for m in measurements)
    several = f", batch {batch}" if batch > 1 else ""
    exact = not any(m.difference for m in measurements)
    said = "Exact to the byte." if exact else "This machine allocates otherwise than computed."
    return (
        f'<p class="student">{said}</p><div class="scroll"><table class="facts numbers"><thead><tr><th>Peak, bytes</th>'
        f"{names}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="subline">{escape(describe_student(student))}, {format_pixels(student.image_size)}{several}, as '
        "PyTorch counts (eager).</p>"
    )


def _measured(settings: Settings) -> str:
    student, batch = settings.student, settings.batch
    return _table(student, measure(student, batch), batch)


CARD = Asked("measure", "measured", "Building both networks and running each once…", "Not measured.", _measured)
