"""Commands that hand networks on: export, push."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..checkpoint.metadata import read_metadata
from ..common.disk import writing
from ..common.files import write_text
from ..deploy.c_export import CExport
from ..deploy.formats import FORMATS, TARGETS
from ..deploy.judged import Export, counted_bytes
from ..deploy.noted_exports import note_export, noted
from ..deploy.onnx_int8 import KINDS, NO_MEMORY_SAVED, export_int8
from ..deploy.opened import Opened, checkpoint_of, open_network
from ..deploy.publish import push
from ..deploy.report import network_report, setting_report
from ..memory.comparison import compare
from ..networks.zoo import is_network
from . import counting
from .options import AddCommand, add_option, check_out, parse_patch, parse_strides


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    exporting = add("export", _export, "a checkpoint as a file of a runtime, checked there before it is written")
    exporting.add_argument("network", help="folder or name of a checkpoint, or folder of a finished run")
    exporting.add_argument("--to", required=True, choices=TARGETS, help="what the file is for")
    exporting.add_argument("--out", type=Path, help="file to write (default: NAME.onnx, .pte or .c in this folder)")
    told = "it takes uint8 from 0 to 255, and normalises inside, as c always does"
    exporting.add_argument("--pixels", action="store_true", help=told)
    exporting.add_argument("--softmax", action="store_true", help="it gives probabilities, not logits")
    told = "onnx: weights and activations in int8, or the weights alone (c: always both)"
    exporting.add_argument("--int8", choices=KINDS, help=told)
    told = "whose pictures calibrate and judge it, classes by name (default: what it was trained on)"
    exporting.add_argument("--dataset", default="", metavar="VALUE", help=told)
    told = "c: compute all up to a layer patch by patch, such as layer1:4, in less memory (`redistill memory --patch`)"
    exporting.add_argument("--patch", metavar="LAYER:N", help=told)
    told = "of the training pictures that int8 is calibrated on"
    add_option(exporting, "--seed", 0, told, type=int)
    reporting = add("report", _report, "one page on a network, to print: memory, accuracy, files, how to run it")
    reporting.add_argument("network", help="checkpoint or run, as for export; or a network, as for memory, not trained")
    reporting.add_argument("--out", type=Path, required=True, help="HTML file to write")
    reporting.add_argument("--strides", default="", help="of a network: such as conv1=8,maxpool=1,layer4.0=1")
    counting.chip_options(reporting, "say whether it fits")
    counting.counting_options(reporting)
    pushing = add("push", _push, "a checkpoint to the Hugging Face Hub, with a card that says what it saves")
    pushing.add_argument("network", help="folder or name of a checkpoint, or folder of a finished run")
    pushing.add_argument("repo", help="owner/name; afterwards other commands take it as hub:owner/name")
    pushing.add_argument("--private", action="store_true", help="seen by its owner alone")
    pushing.add_argument("--with", dest="runtimes", nargs="*", default=[], choices=FORMATS, help="files to export too")


def _push(options: argparse.Namespace) -> None:
    print(push(options.network, options.repo, private=options.private, runtimes=options.runtimes))


def _report(options: argparse.Namespace) -> None:
    """Write it, and say where."""
    check_out(options.out, ".html")
    room = counting.room_asked(options)
    trained = not is_network(options.network)
    if trained and (described := counting.described(options)):
        raise ValueError(
            f"{', '.join(described)}: of a network, and {options.network} is a checkpoint or run, whose own are "
            "reported; drop them."
        )
    if not room and (options.accounting, options.dtype, options.fuse_add) != ("fused", "fp32", False):
        raise ValueError(
            "--accounting, --dtype and --fuse-add say how what a chip has to hold is counted, and the report has "
            "every way of counting; give --chip too, or drop them."
        )
    if trained:
        student = read_metadata(checkpoint_of(options.network)[1]).student
    else:
        student = counting.config_asked(
            options, strides=parse_strides(options.strides), red=counting.red_asked(options)
        )
    fits = []
    if room:
        found = compare(student, options.accounting, options.dtype, options.fuse_add, options.batch)
        fits = room.told("the student", found.student, options.dtype)
    write = network_report if trained else setting_report
    with writing(options.out):
        write_text(options.out, write(options.network if trained else student, fits=fits, batch=options.batch))
    print(f"{options.out}: one page; print it from a browser.")


def _export(options: argparse.Namespace) -> None:
    _check_runtime(options)
    patch = parse_patch(options.patch) if options.patch else None
    ending = FORMATS[options.to].ending
    if options.out:
        check_out(options.out, ending)
    opened = open_network(options.network, options.dataset)
    out = options.out or Path(f"{opened.name}{ending}")
    check_out(out)
    export = _written(options, opened, out, patch)
    is_c = isinstance(export, CExport)
    note_export(opened.folder, noted(export, "full" if is_c else options.int8, patch))
    for line in c_summary(export, counted_bytes(opened, "C") if patch else None) if is_c else summary(export):
        print(line)
    if options.int8:
        print(f"{NO_MEMORY_SAVED}.")


def _check_runtime(options: argparse.Namespace) -> None:
    """ValueError for an option that the runtime does not have."""
    if options.int8 and options.to != "onnx":
        raise ValueError(f"--int8 is for --to onnx; drop it for {options.to}.")
    if options.softmax and options.to == "c":
        raise ValueError("--softmax is for --to onnx and executorch; drop it for c, which gives logits in int8.")
    if options.patch and options.to != "c":
        raise ValueError(f"--patch is for --to c, since no other runtime computes so; drop it for {options.to}.")


def _written(options: argparse.Namespace, opened: Opened, out: Path, patch: tuple[str, int] | None) -> Export:
    if options.int8:
        return export_int8(opened, out, options.int8, options.pixels, options.softmax, options.seed)
    write = FORMATS[options.to].write
    if options.to == "c":
        return write(opened, out, options.seed, patch)
    return write(opened, out, options.pixels, options.softmax)


def summary(export: Export) -> list[str]:
    """What an export is and how it ran, a line each."""
    lines = [f"{export.file}: {export.bytes:,} bytes, run in {export.runtime}"]
    lines.append(f"largest difference from PyTorch on {export.compared} pictures: {export.largest_difference:.2g}")
    lines.append(_accuracy(export))
    heap = "not counted, no C compiler here" if export.heap_bytes is None else f"{export.heap_bytes:,} bytes"
    ours = "not known" if export.peak_bytes is None else f"{export.peak_bytes:,} bytes"
    plans = export.runtime.startswith("ExecuTorch")
    what = "memory that it plans, the input apart" if plans else "peak of its tensors there"
    lines.append(f"{what}: {heap}; by our accounting {ours}")
    lines.append(f"one image: {export.latency_ms:.2f} ms, the median of up to 50 on one thread")
    return lines


def c_summary(export: CExport, whole_bytes: int | None = None) -> list[str]:
    """What a C file is and how it ran, a line each. One in patches has `whole_bytes`, what it needs without them."""
    patched = f"; without patches {whole_bytes:,} bytes" if whole_bytes else ""
    if whole_bytes and whole_bytes <= export.heap_bytes:
        patched += ": patches save nothing here, leave --patch out or choose others (`redistill memory --patch best`)"
    return [
        f"{export.file}: {export.bytes:,} bytes, compiled without warnings and run, {export.runtime}",
        f"beside onnxruntime's int8 on {export.compared} pictures: the same class on {export.same_class}, numbers at "
        f"most {export.steps_apart} of 256 steps apart",
        _accuracy(export),
        f"static RAM, input and output included: {export.heap_bytes:,} bytes as compiled; by our accounting "
        f"{export.peak_bytes:,} bytes{patched}",
        f"code and constants, in flash: {export.flash_bytes:,} bytes as compiled",
        f"one image: {export.macs:,} multiplications, {export.latency_ms:.2f} ms here, the mean of all on one thread",
    ]


def _accuracy(export: Export) -> str:
    if export.test_accuracy is None:
        return f"accuracy: not measured, {export.note}"
    known = export.torch_accuracy is not None
    trained = f", in PyTorch {100 * export.torch_accuracy:.2f} %" if known else ""
    return f"top-1 on all {export.pictures:,} test pictures: {100 * export.test_accuracy:.2f} %{trained}"
