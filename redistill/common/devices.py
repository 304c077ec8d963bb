"""The device that a run trains on: whether it is there, what it is called, and how much memory it has left."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
# glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes: buffers below the first come from the heap, and so much free
# memory stays there
MALLOC_OPTIONS = {-3: 2**30, -1: 2**31 - 1}


def check_device(name: str) -> torch.device:
    """The device of that name; ValueError when there is none on this machine."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # as good as none
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise ValueError(f"Device is {name!r}; expected 'cpu', 'cuda' or 'cuda:0', 'cuda:1', ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"Device {name!r} is not here; this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def keep_device_guard() -> None:
    """Let networks be exported in threads that end; to be called in one that does not, where a server starts.

    Without a GPU torch 2.11 traces by a stand-in for the guard of one, which belongs to the thread that traced first:
    once that has ended, the next trace of any thread ends the process.
    """
    if not torch.cuda.is_available():
        torch._C._ensureCUDADeviceGuardSet()


def describe_device(device: torch.device) -> str:
    """What a figure was made on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''} of {_processor()}"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; on others it is computed in fp32, and takes longer."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next step: whether the C library can (glibc).

    By default glibc gives every large buffer back to the system and takes a new one, whose pages the system clears
    again: 13 % of an fp32 step of MobileNetV2. For processes that train, whose steps need the same buffers each time.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        return all(set_option(option, size) == 1 for option, size in MALLOC_OPTIONS.items())
    return False


def synchronize(device: torch.device) -> None:
    """Return when a GPU has done all that it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def available_memory(device: torch.device) -> int | None:
    """Bytes that a new process could take on the device now; None on a system that does not say.

    On the CPU it is the least of what Linux calls available and what the container's limit leaves.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    amounts = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        amounts.append(next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError, StopIteration):  # where there is no limit, memory.max says "max"
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        given_back = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))  # a file cache
        amounts.append(limit - used + given_back)
    return min(amounts, default=None)


@contextlib.contextmanager
def no_tf32() -> Iterator[None]:
    """Inside the block fp32 networks compute in fp32 on GPUs too, which else round what they multiply (TF32).

    For figures and pictures, so that they compare with those made on the CPU; training stays as fast as it is.
    """
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


@contextlib.contextmanager
def explain_out_of_memory(device: torch.device, doing: str, remedy: str) -> Iterator[None]:
    """Where the device's memory ends inside the block, ValueError: what `doing` needs, what there was, the remedy."""
    available = available_memory(device)
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        had = "what" if available is None else f"the {available:,} bytes that"
        where = describe_device(device) if device.type == "cuda" else "this machine"
        raise ValueError(f"{doing} needs more memory than {had} {where} had left; {remedy}.") from error


def has_room(device: torch.device, needed: int) -> bool:
    """Whether `needed` bytes leave more than half of what the device has free to others, as far as it says."""
    available = available_memory(device)
    return available is None or needed < available / 2


def _processor() -> str:
    with contextlib.suppress(OSError):  # Linux alone has this file
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
