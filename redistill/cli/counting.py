"""Commands that count what a network needs: memory, search; and the chips that it may have to fit: chips."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from ..checkpoint.sources import with_unets
from ..common.settings import changed_options, settings_of
from ..common.units import in_bytes, parse_bytes
from ..memory.chips import CHIPS, Room, room_on
from ..memory.comparison import compare, leaner_red, student_on_tape, student_tape
from ..memory.patch_search import search_patches
from ..memory.patching import count_patched, every_patching, least_memory
from ..memory.profile import PLANNED, MemoryProfile
from ..memory.search import Candidate, SearchResult, search_strides
from ..memory.tape import Tape
from ..networks.alignment import BY_SIZE, RULES
from ..networks.red import REDConfig
from ..networks.stem_kinds import AS_BUILT, STEMS
from ..networks.student import StudentConfig
from ..networks.zoo import DDPM, find_network
from .options import (
    NETWORK,
    AddCommand,
    add_option,
    add_red_options,
    parse_patch,
    parse_percent,
    parse_size,
    parse_strides,
    red_settings,
)

BEST = "best"  # in place of a layer to compute patches up to: all that are worth it
# What a budget is compared with, by accounting.
NEEDS = {
    "fused": "What fits is the arena that a runtime plans, the smaller of two greedy plans; the peak is alive in it.",
    "executorch": "What fits is the arena that ExecuTorch plans and the input, which the caller holds.",
    "onnxruntime": "What fits is the peak: onnxruntime allocates as it goes.",
    "eager": "What fits is the peak: PyTorch allocates as it goes.",
}


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    counting = add("memory", _memory, "activation memory of a network at other pooling strides")
    counting.add_argument("network", help=NETWORK)
    counting.add_argument("--strides", default="", help="such as conv1=8,maxpool=1,layer4.0=1")
    chip_options(counting, "say whether activations and weights fit")
    told = "also computed patch by patch: layer and patches a side, such as layer2:4, or best for what lowers the peak"
    counting.add_argument("--patch", help=told)
    counting_options(counting)

    searching = add("search", _search, "every choice of pooling strides of a network, and what fits a budget")
    searching.add_argument("network", metavar="teacher", help=NETWORK)
    searching.add_argument(
        "--budget", help="such as 512KiB; 1 KiB is 1,024 bytes, 1 KB 1,000 (default: the teacher's peak)"
    )
    chip_options(searching, "in place of a budget: what it leaves to activations")
    add_option(searching, "--reduction", "same", "total reduction: same or any")
    told = "also computed patch by patch, for at most so many per cent of computation more (50 where none are given)"
    searching.add_argument("--patching", nargs="?", const="50", metavar="PERCENT", help=told)
    counting_options(searching)

    add("chips", _chips, "chips and boards with the memory that a program can use there, and its source")


def chip_options(command: argparse.ArgumentParser, told: str) -> None:
    command.add_argument("--chip", metavar="NAME", help=f"a name of `redistill chips`: {told}")
    taken = "that the runtime and the rest take, such as 64KiB (default: assumed for the chip)"
    command.add_argument("--reserve", metavar="BYTES", help=f"RAM {taken}")
    command.add_argument("--program", metavar="BYTES", help=f"flash {taken}")


def counting_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--image-size", help="pixels a side, or HEIGHTxWIDTH (default: the network's usual)")
    add_option(command, "--batch", 1, "images at a time", type=int)
    add_option(command, "--in-channels", 3, "channels of an image", type=int)
    add_option(command, "--dtype", "fp32", "of all numbers: fp32, fp16, bf16 or int8")
    add_option(command, "--accounting", "fused", "fused, eager, onnxruntime or executorch")
    fused = "fused: let a convolution do the addition after it, in the other operand's buffer"
    command.add_argument("--fuse-add", action="store_true", help=fused)
    add_option(command, "--stem", AS_BUILT, settings_of(StudentConfig)["stem"].help, choices=STEMS, metavar="KIND")

    add_red_options(command)
    told = "asynchronous, at layers of the teacher's map sizes, or stage-wise, at the same layers as the teacher's"
    add_option(command, "--alignment", BY_SIZE, f"where RED blocks stand: {told}", choices=RULES)


def _chips(options: argparse.Namespace) -> None:
    for chip in CHIPS.values():
        room = room_on(chip.name)
        banks = ", ".join(f"{bank.name} {bank.bytes // 2**10:,} KiB" for bank in (*chip.ram, *chip.flash))
        left = f"{room.activations // 2**10:,} KiB for activations"
        left += "" if room.weights is None else f", {room.weights // 2**10:,} KiB for weights"
        print(f"{chip.name}: {chip.title}: {left}, of {banks} ({chip.source})")


def room_asked(options: argparse.Namespace) -> Room | None:
    """What the chip that is asked for leaves; ValueError for what does not go together."""
    taken = {name: getattr(options, name) for name in ("reserve", "program") if getattr(options, name) is not None}
    if options.chip is None:
        if taken:
            raise ValueError(f"--{next(iter(taken))} is taken of a chip's memory; give --chip too, or drop it.")
        return None
    return room_on(options.chip, **{name: parse_bytes(text) for name, text in taken.items()})


def _memory(options: argparse.Namespace) -> None:
    room = room_asked(options)
    strides = parse_strides(options.strides)
    patch = None if options.patch in (None, BEST) else parse_patch(options.patch)
    config = config_asked(options, strides=strides, red=red_asked(options))
    found = compare(config, options.accounting, options.dtype, options.fuse_add, options.batch)
    _tell_part(config)
    for title, profile in (("teacher", found.teacher), ("student", found.student)):
        print(f"{title}: {in_bytes(profile.peak_bytes)} at {profile.peak_layer}")
        _tell_arena(title, profile)
    print(f"ratio: {found.teacher.peak_bytes / found.student.peak_bytes:.2f}")
    if leaner := leaner_red(found):
        print(
            f"RED blocks raise the peak from {in_bytes(found.bare.peak_bytes)}; those of "
            f"{' '.join(changed_options(leaner, 'red-'))} would not, but are another function"
        )
    if room:
        for title, profile in (("teacher", found.teacher), ("student", found.student)):
            print("\n".join(room.told(title, profile, options.dtype)))
    if found.refusal:
        print(f"No student can be built from it: {found.refusal}")
    if options.patch is not None:
        _tell_patches(options, config, patch)


def _tell_part(config: StudentConfig) -> None:
    """Which part of the network that was asked for is counted, where it is not the whole."""
    info = find_network(config.teacher, config.unets)
    if info.part:
        print(f"Of {info.name} the {info.part} alone is counted: what the rest needs depends on what a picture shows.")


def _tell_arena(title: str, profile: MemoryProfile) -> None:
    """What the runtime plans for it, where it does so and that is more than what is alive."""
    if profile.accounting not in PLANNED:
        return
    plan = profile.plan()
    if plan.bytes > plan.live_bytes:
        alive = f"{100 * plan.gap:.1f} % more than the {in_bytes(plan.live_bytes)} alive"
        print(f"{title}: planned in one arena of {in_bytes(plan.bytes)}, {alive}")


def _tell_patches(options: argparse.Namespace, student: StudentConfig, patch: tuple[str, int] | None) -> None:
    """What the network and the student need when their first layers are computed so, or at best."""
    counted = {"accounting": options.accounting, "dtype": options.dtype, "fuse_add": options.fuse_add}
    teacher = replace(student, strides=student.teacher_strides, red=None)
    for title, config in (("teacher", teacher), ("student", student)):
        tape, settings = student_on_tape(config, options.batch)
        if patch:
            rows = [count_patched(tape, *patch, **settings, **counted)]
        else:
            rows = least_memory(every_patching(tape, **settings, **counted))
        for row in rows:
            patches = f"{row.grid}x{row.grid} patches to {row.upto}"
            print(f"{title}, {patches}: {in_bytes(row.peak_bytes)}, {_added(row.overhead)} computation")
        if not rows:
            print(f"{title}: no patches of its first layers lower its peak")


def _added(overhead: float) -> str:
    return f"{100 * overhead:+.1f} %"


def config_asked(options: argparse.Namespace, **settings: Any) -> StudentConfig:
    """The network that is counted, at the image size that is asked for, or else its usual one."""
    size = None if options.image_size is None else parse_size(options.image_size)
    bare = {"image_size": size or 1, "in_channels": options.in_channels}  # of a DDPM only its settings tell the size
    unets = with_unets(StudentConfig(options.network, **bare)).unets if options.network.startswith(DDPM) else {}
    told = {"in_channels": options.in_channels, "stem": options.stem, "unets": unets, "alignment": options.alignment}
    return StudentConfig(options.network, size, **told, **settings)


def _tell_search(done: int, count: int, captured: int) -> None:
    """How far a search is that has to capture networks, on a terminal that shows it."""
    if captured and sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done:,} of {count:,} choices, {captured:,} captured anew", end=end, file=sys.stderr, flush=True)


def _search(options: argparse.Namespace) -> None:
    room = room_asked(options)
    if room and options.budget is not None:
        raise ValueError("--budget and --chip both say what is to fit; give one of them.")
    budget = room.activations if room else None if options.budget is None else parse_bytes(options.budget)
    if options.patching is not None:
        parse_percent(options.patching)
        if budget is None:
            raise ValueError("--patching needs the memory to fit; give --budget, such as --budget 512KiB, or --chip.")
    config = config_asked(options)
    tape = student_tape(config)
    result = search_strides(
        tape,
        config.image_size,
        reduction=options.reduction,
        red=red_asked(options),
        alignment=options.alignment,
        accounting=options.accounting,
        dtype=options.dtype,
        batch=options.batch,
        fuse_add=options.fuse_add,
        room=room,
        progress=_tell_search,
    )
    _tell_part(config)
    budget = result.teacher.needed_bytes if budget is None else budget
    fitting = sum(candidate.fits(budget) for candidate in result.candidates)
    tried = f"{result.tried} choices of strides in {result.seconds:.1f} s: {result.refused} refused"
    tried += f", {result.captured} captured anew" if result.captured else ""
    print(f"{tried}, {fitting} fit {in_bytes(budget)}.")
    shown = result.within(budget)
    named = ", ".join(result.teacher.strides)
    print(f"Most computation kept, {len(shown)} best of {fitting} that fit, by strides of {named}:")
    heads = f"{'needs bytes':>13}{'peak bytes':>13}{'without RED':>13}{'GMACs':>9}{'without RED':>13}"
    print(f"{'':<10}{'strides':<14}{heads}  peak at")
    print(_search_row("teacher", result.teacher))
    for candidate in shown:
        print(_search_row("", candidate))
    print(NEEDS[options.accounting])
    if room:
        _tell_heavy(result, room)
    if not fitting:
        print(f"Nothing fits; the least memory is:\n{_search_row('', result.candidates[0])}")
    if options.patching is not None:
        _tell_patched(options, config, tape, result, budget)


def _tell_heavy(result: SearchResult, room: Room) -> None:
    """How many choices have room for their activations on a chip but not for their weights."""
    heavy = sum(one.needed_bytes <= room.activations and not one.fits(room.activations) for one in result.candidates)
    where = "beside them in RAM" if room.weights is None else f"in {in_bytes(room.weights)} of flash"
    if heavy:
        own = in_bytes(result.teacher.stored_bytes)
        print(f"Of {heavy} more the weights find no room {where}; those of the network without RED blocks take {own}.")


def _tell_patched(
    options: argparse.Namespace, config: StudentConfig, tape: Tape, result: SearchResult, budget: int
) -> None:
    """What fits the budget when the first layers are computed patch by patch."""
    most = parse_percent(options.patching)
    rows = search_patches(
        tape,
        result,
        budget,
        config.image_size,
        most_overhead=most / 100,
        red=red_asked(options),
        alignment=options.alignment,
        batch=options.batch,
        accounting=options.accounting,
        dtype=options.dtype,
        fuse_add=options.fuse_add,
    )
    how = f"computed patch by patch, for at most {most:g} % more computation"
    print(f"The most computation kept in this budget, {how}:" if rows else f"Nothing fits {how}.")
    for row in rows:
        strides = ",".join(map(str, row.candidate.strides.values()))
        patches = f"{row.patched.grid}x{row.patched.grid} to {row.patched.upto}" if row.patched else "none needed"
        kept = 100 * row.candidate.bare_macs / result.teacher.macs
        print(f"{'':<10}{strides:<14}{row.needed_bytes:>13,}{kept:>12.0f} % kept{_added(row.overhead):>10}  {patches}")


def described(options: argparse.Namespace) -> list[str]:
    """The options that are given of those that say which network is counted: "--stem", "--red-points"."""
    usual = {"strides": "", "image_size": None, "in_channels": 3, "stem": AS_BUILT, "alignment": BY_SIZE}
    given = [name for name, value in usual.items() if getattr(options, name) != value]
    red = red_settings(options)
    given += ["no-red"] if red is None else [f"red-{name}" for name in red]
    return [f"--{name.replace('_', '-')}" for name in given]


def red_asked(options: argparse.Namespace) -> REDConfig | None:
    red = red_settings(options)
    return None if red is None else REDConfig.from_dict(red)


def _search_row(title: str, candidate: Candidate) -> str:
    strides = ",".join(map(str, candidate.strides.values()))
    peaks = f"{candidate.needed_bytes:>13,}{candidate.peak_bytes:>13,}{candidate.bare_peak_bytes:>13,}"
    macs = f"{candidate.macs / 1e9:>9.3f}{candidate.bare_macs / 1e9:>13.3f}"
    return f"{title:<10}{strides:<14}{peaks}{macs}  {candidate.peak_layer}"
