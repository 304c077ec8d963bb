"""Commands that count what a network needs: memory, search."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..checkpoint.sources import with_unets
from ..common.units import parse_bytes
from ..memory.comparison import compare, network_tape
from ..memory.search import Candidate, search_strides
from ..networks.red import REDConfig
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM
from .options import NETWORK, AddCommand, add_option, parse_size, parse_strides


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    counting = add("memory", _memory, "activation memory of a network at other pooling strides")
    counting.add_argument("network", help=NETWORK)
    counting.add_argument("--strides", default="", help="such as conv1=8,maxpool=1,layer4.0=1")
    _counting_options(counting)

    searching = add("search", _search, "every choice of pooling strides of a network, and what fits a budget")
    searching.add_argument("network", metavar="teacher", help=NETWORK)
    searching.add_argument(
        "--budget", help="such as 512KiB; 1 KiB is 1,024 bytes, 1 KB 1,000 (default: the teacher's peak)"
    )
    add_option(searching, "--reduction", "same", "total reduction: same or any")
    _counting_options(searching)


def _counting_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--image-size", help="pixels a side, or HEIGHTxWIDTH (default: the network's usual)")
    add_option(command, "--batch", 1, "images at a time", type=int)
    add_option(command, "--in-channels", 3, "channels of an image", type=int)
    add_option(command, "--dtype", "fp32", "of all numbers: fp32, fp16, bf16 or int8")
    add_option(command, "--accounting", "fused", "fused or eager")
    fused = "fused: let a convolution do the addition after it, in the other operand's buffer"
    command.add_argument("--fuse-add", action="store_true", help=fused)
    command.add_argument("--no-red", action="store_true", help="leave RED blocks out")


def _memory(options: argparse.Namespace) -> None:
    strides = parse_strides(options.strides)
    config = _counted(options, strides=strides, red=_red(options))
    found = compare(config, options.accounting, options.dtype, options.fuse_add, options.batch)
    for title, profile in (("teacher", found.teacher), ("student", found.student)):
        print(f"{title}: {_in_bytes(profile.peak_bytes)} at {profile.peak_layer}")
    print(f"ratio: {found.teacher.peak_bytes / found.student.peak_bytes:.2f}")
    if found.refusal:
        print(f"No student can be built from it: {found.refusal}")


def _counted(options: argparse.Namespace, **settings: Any) -> StudentConfig:
    """The network that is counted, at the image size that is asked for, or else its usual one."""
    size = None if options.image_size is None else parse_size(options.image_size)
    bare = {"image_size": size or 1, "in_channels": options.in_channels}  # of a DDPM only its settings tell the size
    unets = with_unets(StudentConfig(options.network, **bare)).unets if options.network.startswith(DDPM) else {}
    return StudentConfig(options.network, size, in_channels=options.in_channels, unets=unets, **settings)


def _tell_search(done: int, count: int, captured: int) -> None:
    """How far a search is that has to capture networks, on a terminal that shows it."""
    if captured and sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done:,} of {count:,} choices, {captured:,} captured anew", end=end, file=sys.stderr, flush=True)


def _search(options: argparse.Namespace) -> None:
    budget = None if options.budget is None else parse_bytes(options.budget)
    config = _counted(options)
    result = search_strides(
        network_tape(config.teacher, None, config.unets, config.image_size, config.in_channels),
        config.image_size,
        reduction=options.reduction,
        red=_red(options),
        accounting=options.accounting,
        dtype=options.dtype,
        batch=options.batch,
        fuse_add=options.fuse_add,
        progress=_tell_search,
    )
    budget = result.teacher.peak_bytes if budget is None else budget
    fitting = sum(candidate.peak_bytes <= budget for candidate in result.candidates)
    tried = f"{result.tried} choices of strides in {result.seconds:.1f} s: {result.refused} refused"
    tried += f", {result.captured} captured anew" if result.captured else ""
    print(f"{tried}, {fitting} fit {_in_bytes(budget)}.")
    print(f"The most computation kept in each amount of memory, by strides of {', '.join(result.teacher.strides)}:")
    print(f"{'':<10}{'strides':<14}{'peak bytes':>13}{'without RED':>13}{'GMACs':>9}{'without RED':>13}  peak at")
    print(_search_row("teacher", result.teacher))
    for candidate in result.front:
        if candidate.peak_bytes <= budget:
            print(_search_row("", candidate))
    if not fitting:
        print(f"Nothing fits; the least memory is:\n{_search_row('', result.candidates[0])}")


def _red(options: argparse.Namespace) -> REDConfig | None:
    return None if options.no_red else REDConfig()


def _in_bytes(count: int) -> str:
    return f"{count:,} bytes ({count / 2**20:.3f} MiB)"


def _search_row(title: str, candidate: Candidate) -> str:
    strides = ",".join(map(str, candidate.strides.values()))
    peaks = f"{candidate.peak_bytes:>13,}{candidate.bare_peak_bytes:>13,}"
    macs = f"{candidate.macs / 1e9:>9.3f}{candidate.bare_macs / 1e9:>13.3f}"
    return f"{title:<10}{strides:<14}{peaks}{macs}  {candidate.peak_layer}"
