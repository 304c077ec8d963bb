"""A report of one page: what a network is, needs, and does, as HTML that a browser prints on one sheet of A4."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..checkpoint.graph import GRAPH
from ..checkpoint.metadata import Metadata
from ..common.files import sha256_of
from ..common.settings import changed_options
from ..common.values import is_number
from ..memory.comparison import Comparison, compare
from ..networks.student import StudentConfig
from ..networks.zoo import find_network
from ..training.intervals import wilson
from .memory_facts import MemoryRow, memory_rows, weight_rows
from .memory_picture import memory_png
from .noted_exports import NotedExport, exports_noted
from .opened import open_network, tested_on

CHART_HEIGHT = 230  # pixels
MOST_FILES = 8  # that are listed; the largest
MOST_POINTS = 24  # whose strides are written out
FILES = (".safetensors", ".json", ".py")  # of a checkpoint, that are needed to run it
STYLE = """@page { size: A4; margin: 11mm }
* { box-sizing: border-box }
body { font: 8.5pt/1.35 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 188mm; margin: 0 auto }
h1 { font-size: 15pt; margin: 0 } h2 { font-size: 9.5pt; margin: 2.2mm 0 .6mm; border-bottom: .2mm solid #b8c2cc }
p { margin: .6mm 0 } img { display: block; width: 100%; margin: .8mm 0 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25mm 1.5mm; vertical-align: top }
td + td, th + th { text-align: right } tr:nth-child(even) td { background: #f3f6f8 }
code, pre { font: 7.2pt/1.35 ui-monospace, monospace; overflow-wrap: anywhere }
pre { margin: .6mm 0; white-space: pre-wrap } .note { color: #5b6773 }
@media screen { body { padding: 8mm } }"""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, as HTML."""

    title: str
    body: str


def network_report(network: str | Path, fits: Sequence[str] = (), batch: int = 1) -> str:
    """The report of a checkpoint, or of a run that has one, named as everywhere.

    `fits` are sentences on whether it fits a chip; memory is that of `batch` images at a time. Its accuracy, latency
    and files are those that were measured: by the run, and by `redistill export` of it, which notes them. Raises
    ValueError as `open_network` does: of weights that nobody can run there is no report.
    """
    opened = open_network(network)
    name, folder, metadata = opened.name, opened.folder, opened.metadata
    exports = exports_noted(folder)
    known = [
        Section("Accuracy and latency", _measured(metadata, exports)),
        Section("Files", _files(folder, exports)),
        Section("How to run it", _code(_run_lines(name, metadata, folder, exports))),
    ]
    return _page(name, metadata.student, metadata.dataset, batch, fits, known)


def setting_report(student: StudentConfig, batch: int = 1, fits: Sequence[str] = ()) -> str:
    """The report of a student that nobody has trained: its memory alone. Raises ValueError as `compare` does."""
    known = [Section("How to build it", _code(_build_lines(student, batch)))]
    return _page(find_network(student.teacher).title, student, "", batch, fits, known)


def _page(
    name: str, student: StudentConfig, dataset: str, batch: int, fits: Sequence[str], known: Iterable[Section]
) -> str:
    found = compare(student, batch=batch)
    sections = [
        Section("Memory of activations and weights", _memory(found, batch)),
        *(
            [Section("On the chip", "".join(f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in fits))]
            if fits
            else []
        ),
        *known,
    ]
    body = "".join(f"<h2>{section.title}</h2>{section.body}" for section in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: report</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(name)}</h1>{_about(found, student, dataset)}{body}"
        '<p class="note">Made by ReDistill Studio (arXiv 2406.03744). Bytes are exact counts; 1 KiB is 1,024 bytes.'
        "</p></body></html>\n"
    )


def _about(found: Comparison, student: StudentConfig, dataset: str) -> str:
    """The network, its images and strides, in two lines."""
    network = find_network(student.student_architecture, student.unets).title
    sides = "×".join(map(str, student.image_size)) if not student.is_square else str(student.image_size)
    taught = f" trained on {dataset}" if dataset else ", not trained"
    blocks = "with RED blocks" if student.red else "without RED blocks"
    own = {point.name: point.stride for point in found.teacher_points}
    points = [
        (point.name, own.get(point.name, point.stride), point.stride)
        for point in found.points
        if point.direction == "down"
    ]
    changed = [f"{name} {before} → {now}" if before != now else f"{name} {now}" for name, before, now in points]
    more = f", and {len(changed) - MOST_POINTS} more" if len(changed) > MOST_POINTS else ""
    strides = ", ".join(changed[:MOST_POINTS]) + more
    return (
        f"<p>{escape(network)}, {student.in_channels} × {sides} pixels, {blocks}{escape(taught)}.</p>"
        f"<p>Pooling strides, the teacher’s → the student’s: {escape(strides) or 'none that can be chosen'}.</p>"
    )


def _memory(found: Comparison, batch: int) -> str:
    """Both charts at one scale, and a row for each way of counting."""
    most = max(found.teacher.peak_bytes, found.student.peak_bytes)
    charts = "".join(
        f'<img alt="Bytes alive at each operator of the {who}" src="data:image/png;base64,'
        f'{base64.b64encode(memory_png(profile, most, f"{who.capitalize()}, fp32", CHART_HEIGHT)).decode()}">'
        for who, profile in (("teacher", found.teacher), ("student", found.student))
    )
    rows = [*memory_rows(found.config, batch), *weight_rows(found)]
    images = "one image" if batch == 1 else f"{batch:,} images"
    head = (f"Bytes for {images}, RED blocks included", "Teacher", "Student", "Less")
    return charts + _table(head, map(_memory_cells, rows))


def _memory_cells(row: MemoryRow) -> list[str]:
    return [row.title, f"{row.teacher:,}", f"{row.student:,}", f"{row.ratio:.2f}×"]


def _measured(metadata: Metadata, exports: Sequence[NotedExport]) -> str:
    metrics, rows = metadata.metrics, []
    accuracy = metrics.get("test_accuracy")
    if is_number(accuracy):
        rows.append(["PyTorch, fp32", _share(accuracy, tested_on(metadata)), "not measured", "not counted"])
    for export in exports:
        share = "no pictures here" if export.test_accuracy is None else _share(export.test_accuracy, export.pictures)
        heap = "not counted" if export.heap_bytes is None else f"{export.heap_bytes:,}"
        share = "–" if metadata.student.task == "diffusion" else share
        rows.append([f"{export.runtime}, {export.numbers}", share, f"{export.latency_ms:.2f} ms", heap])
    table = _table(("Run in", "Accuracy on the test pictures", "One image, one thread", "Bytes of its tensors"), rows)
    losses = {name: value for name, value in metrics.items() if name == "test_prediction_loss" and is_number(value)}
    quality = metrics.get("quality")
    if isinstance(quality, dict):
        losses |= {name: quality[name] for name in ("kid", "fid", "recall") if is_number(quality.get(name))}
    told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in losses.items())
    lacking = (
        "" if exports else '<p class="note">No export of it was measured; `redistill export` measures and notes.</p>'
    )
    return f"{table if rows else ''}{f'<p>{escape(told)}.</p>' if told else ''}{lacking}"


def _share(share: float, count: int | None) -> str:
    """ "95.35 % of 2,000 pictures (95 %: 94.3 to 96.2)"."""
    if not count:
        return f"{100 * share:.2f} %"
    low, high = wilson(share, count)
    return f"{100 * share:.2f} % of {count:,} (95 %: {100 * low:.1f} to {100 * high:.1f})"


def _files(folder: Path, exports: Sequence[NotedExport]) -> str:
    """What there is to hand on, with sizes and checksums; exports as they were written."""
    own = [file for file in folder.rglob("*") if file.is_file() and file.suffix in FILES]
    own.sort(key=lambda file: (-file.stat().st_size, file.name))
    room = max(2, MOST_FILES - len(exports))
    rows = [[str(file.relative_to(folder)), f"{file.stat().st_size:,}", sha256_of(file)] for file in own[:room]]
    rows += [[export.name, f"{export.bytes:,}", export.sha256] for export in exports]
    left = own[room:]
    more = f'<p class="note">And {len(left)} smaller ones.</p>' if left else ""
    return _table(("File", "Bytes", "SHA-256"), rows) + more


def _run_lines(name: str, metadata: Metadata, folder: Path, exports: Sequence[NotedExport]) -> list[str]:
    """The commands, and lines of Python, that run what there is."""
    draws = metadata.student.task == "diffusion"
    lines = [f"redistill {'sample' if draws else 'evaluate'} {name}"]
    if (folder / GRAPH).is_file():
        lines.append("import network; model = network.load()  # beside network.py, torch alone; images from -1 to 1")
    elif draws:
        lines.append('DiffusionPipeline.from_pretrained("FOLDER", trust_remote_code=True)  # of diffusers')
    else:
        lines.append(f'import redistill; model = redistill.load("{name}")  # images from -1 to 1')
    for export in exports:
        if export.name.endswith(".c"):
            lines.append(f"cc -O2 -c {export.name}  # C99, <stdint.h> alone; its first lines tell its use")
            continue
        if not export.name.endswith(".onnx"):
            runner, taken = "executorch_runner", "PICTURES.npy ANSWERS.npz"
        else:
            runner, taken = (
                ("onnx_sampler", "PICTURE.npy SEED") if draws else ("onnx_runner", "PICTURES.npy ANSWERS.npz")
            )
        lines.append(f"python -m redistill.deploy.{runner} {export.name} {taken}")
    return lines if exports else [*lines, f"redistill export {name} --to onnx"]


def _build_lines(student: StudentConfig, batch: int) -> list[str]:
    """What counts the student again, where the shell can, and what builds it."""
    return [
        *_memory_line(student, batch),
        "import redistill",
        f"config = redistill.StudentConfig.from_dict({student.to_dict()})",
        "student = redistill.build_student(config)",
    ]


def _memory_line(student: StudentConfig, batch: int) -> list[str]:
    """The command that counts it; none where `redistill memory` has no option for how the student differs."""
    told = {name: getattr(student, name) for name in ("strides", "red", "in_channels", "stem", "unets")}
    if StudentConfig(student.teacher, student.image_size, **told) != student:
        return []
    words = ["redistill", "memory", student.teacher]
    if student.strides:
        words += ["--strides", ",".join(f"{name}={_sides(stride)}" for name, stride in student.strides.items())]
    words += ["--image-size", _sides(student.image_size), *changed_options(student, names=("in_channels", "stem"))]
    words += ["--no-red"] if student.red is None else changed_options(student.red, "red-")
    return [shlex.join(words + ["--batch", str(batch)] * (batch != 1))]


def _sides(sides: int | Sequence[int]) -> str:
    """One number, or two as "2x1"."""
    return str(sides) if isinstance(sides, int) else "x".join(map(str, sides))


def _code(lines: Sequence[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
