"""Commands that hand networks on: export, push."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..deploy.executorch_export import export_executorch
from ..deploy.judged import Export
from ..deploy.onnx_export import export_onnx
from ..deploy.onnx_int8 import KINDS, NO_MEMORY_SAVED, export_int8
from ..deploy.opened import open_network
from ..deploy.publish import RUNTIMES, push
from .options import AddCommand, add_option, check_out

# By format: what writes the file, and its suffix.
FORMATS = {"onnx": (export_onnx, ".onnx"), "executorch": (export_executorch, ".pte")}


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    exporting = add("export", _export, "a checkpoint as a file of a runtime, checked there before it is written")
    exporting.add_argument("network", help="folder or name of a checkpoint, or folder of a finished run")
    exporting.add_argument("--to", required=True, choices=list(FORMATS), help="what the file is for")
    exporting.add_argument("--out", type=Path, help="file to write (default: NAME.onnx or NAME.pte in this folder)")
    exporting.add_argument("--pixels", action="store_true", help="it takes uint8 from 0 to 255, and normalises inside")
    exporting.add_argument("--softmax", action="store_true", help="it gives probabilities, not logits")
    told = "onnx: weights and activations in int8, or the weights alone"
    exporting.add_argument("--int8", choices=KINDS, help=told)
    told = "whose pictures calibrate and judge it, classes by name (default: what it was trained on)"
    exporting.add_argument("--dataset", default="", metavar="VALUE", help=told)
    told = "of the training pictures that int8 is calibrated on"
    add_option(exporting, "--seed", 0, told, type=int)
    pushing = add("push", _push, "a checkpoint to the Hugging Face Hub, with a card that says what it saves")
    pushing.add_argument("network", help="folder or name of a checkpoint, or folder of a finished run")
    pushing.add_argument("repo", help="owner/name; afterwards other commands take it as hub:owner/name")
    pushing.add_argument("--private", action="store_true", help="seen by its owner alone")
    pushing.add_argument("--with", dest="runtimes", nargs="*", default=[], choices=RUNTIMES, help="files to export too")


def _push(options: argparse.Namespace) -> None:
    print(push(options.network, options.repo, private=options.private, runtimes=options.runtimes))


def _export(options: argparse.Namespace) -> None:
    write, suffix = FORMATS[options.to]
    opened = open_network(options.network, options.dataset)
    out = options.out or Path(f"{opened.name}{suffix}")
    check_out(out)
    if options.int8 and options.to != "onnx":
        raise ValueError(f"--int8 is for --to onnx; drop it for {options.to}.")
    if options.int8:
        export = export_int8(opened, out, options.int8, options.pixels, options.softmax, options.seed)
    else:
        export = write(opened, out, options.pixels, options.softmax)
    for line in summary(export):
        print(line)
    if options.int8:
        print(f"{NO_MEMORY_SAVED}.")


def summary(export: Export) -> list[str]:
    """What an export is and how it ran, a line each."""
    lines = [f"{export.file}: {export.bytes:,} bytes, run in {export.runtime}"]
    lines.append(f"largest difference from PyTorch on {export.compared} pictures: {export.largest_difference:.2g}")
    if export.test_accuracy is None:
        lines.append(f"accuracy: not measured, {export.note}")
    else:
        known = export.torch_accuracy is not None
        trained = f", in PyTorch {100 * export.torch_accuracy:.2f} %" if known else ""
        lines.append(f"top-1 on all {export.pictures:,} test pictures: {100 * export.test_accuracy:.2f} %{trained}")
    heap = "not counted, no C compiler here" if export.heap_bytes is None else f"{export.heap_bytes:,} bytes"
    ours = "not known" if export.peak_bytes is None else f"{export.peak_bytes:,} bytes"
    what = "memory that it plans, the input apart" if export.file.suffix == ".pte" else "peak of its tensors there"
    lines.append(f"{what}: {heap}; by our accounting {ours}")
    lines.append(f"one image: {export.latency_ms:.2f} ms, the median of up to 50 on one thread")
    return lines
