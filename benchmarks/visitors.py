"""A page that strangers share: how long they wait for an answer, and what the server keeps of them.

    python -m benchmarks.visitors [--quick] [--json FILE]

Starts the app as on a Space, on a free port of this machine. Twenty visitors, each a process and a page of its own,
change strides for a minute with a second's thought between two changes; then two hundred do for ten seconds. Times are
milliseconds from a call to its answer over HTTP. Then, once as many pages were opened as the server keeps, 5,000 calls
and 300 page loads are made, and its resident memory is read before, halfway and after: what grows beyond caches with a
bound shows there. `--quick` takes fewer of everything. On a quiet machine of two cores twenty visitors should wait 50
ms at the median and 300 at 95 %. It ends with an error where one of their calls, or of the 5,000, was refused.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .helpers.app_process import START_SECONDS, served_from

PATIENCE = 60.0  # seconds for an answer
SPACE = {"SYSTEM": "spaces", "SPACE_ID": "someone/studio", "HF_HUB_OFFLINE": "1"}
STRIDES = [{"conv1": first, "maxpool": second} for first in (1, 2, 4, 8) for second in (1, 2, 4, 8)]
STRIDES = [strides for strides in STRIDES if strides["conv1"] * strides["maxpool"] <= 8]  # what 64 px have room for
ENDPOINT, NETWORK = "profile", "narrow_resnet"  # one count of a network's memory
FULL = {"minute": 60.0, "ten": 10.0, "many": 200, "calls": 5000, "loads": 300, "processes": 20, "kept": 200}
QUICK = {"minute": 6.0, "ten": 2.0, "many": 40, "calls": 200, "loads": 20, "processes": 4, "kept": 20}


class Visitor:
    """Someone with a browser of their own, who keeps the id that the page gave."""

    def __init__(self, address: str, seed: int, rest: Sequence[Any]) -> None:
        self.address, self.random, self.page, self.cookie = address, random.Random(seed), uuid.uuid4().hex, ""
        self.rest = rest  # arguments of the endpoint after network and strides

    def open(self) -> int:
        """Load the page, and return how many bytes it has."""
        with urllib.request.urlopen(self.address, timeout=PATIENCE) as answer:
            self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
            return len(answer.read())

    def call(self) -> str:
        """Ask for the memory of a network at strides of one's own; empty, or why there was no answer."""
        data = [NETWORK, self.random.choice(STRIDES), *self.rest]
        body = json.dumps({"data": data, "session_hash": self.page}).encode()
        headers = {"content-type": "application/json", "cookie": self.cookie}
        request = urllib.request.Request(f"{self.address}/gradio_api/run/{ENDPOINT}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                json.load(answer)
            return ""
        except urllib.error.HTTPError as error:
            return f"{error.code}: {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"


def usual_arguments(address: str) -> list[Any]:
    """Those of the endpoint after network and strides, as the server tells them: a plain call has to send all."""
    with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=PATIENCE) as answer:
        told = json.load(answer)["named_endpoints"][f"/{ENDPOINT}"]["parameters"]
    return [one["parameter_default"] for one in told[2:]]


def at_the_page(
    address: str, rest: Sequence[Any], seed: int, seconds: float, thought: float, all_here: Any, told: Any
) -> None:
    """One visitor: opens the page, waits for the others, then calls, with a thought between two calls; tells
    milliseconds and errors."""
    visitor, waited, refused = Visitor(address, seed, rest), [], []
    try:
        visitor.open()
        refused += filter(None, [visitor.call()])  # as a page does when it opens: its session begins
    except OSError as error:
        refused.append(f"page: {error}")
    all_here.wait(START_SECONDS)
    until = time.monotonic() + seconds
    time.sleep(visitor.random.random() * thought)  # people do not click at once
    while time.monotonic() < until:
        began = time.perf_counter()
        error = visitor.call()
        waited.append(1000 * (time.perf_counter() - began))
        refused += [error] if error else []
        time.sleep(thought)
    told.put((waited, refused))


def several_at_the_page(seeds: Sequence[int], address: str, rest: Sequence[Any], *given: Any) -> None:
    """Several visitors in threads of one process: two hundred processes would need the machine for themselves."""
    threads = [threading.Thread(target=at_the_page, args=(address, rest, seed, *given)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def crowd(address: str, count: int, seconds: float, thought: float, processes: int) -> dict[str, Any]:
    """What so many visitors waited, who come from so many processes: milliseconds at the median and at 95 %."""
    context = multiprocessing.get_context("spawn")
    told, all_here = context.Queue(), context.Barrier(count)
    shares = [range(count)[place::processes] for place in range(processes)]
    given = (address, usual_arguments(address), seconds, thought, all_here, told)
    started = [context.Process(target=several_at_the_page, args=(share, *given)) for share in shares]
    for process in started:
        process.start()
    answers = [told.get(timeout=START_SECONDS + seconds + 2 * PATIENCE) for _ in range(count)]
    for process in started:
        process.join()
    waited = sorted(time for times, _ in answers for time in times)
    refused = [error for _, errors in answers for error in errors]
    return {
        "visitors": count,
        "calls": len(waited),
        "median_ms": round(statistics.median(waited), 1),
        "p95_ms": round(waited[int(0.95 * (len(waited) - 1))], 1),
        "refused": len(refused),
        "refusals": sorted(set(refused))[:5],
    }


def resident_bytes(pid: int) -> int:
    """What a process holds of the machine's memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


def kept(address: str, pid: int, calls: int, loads: int, before: int) -> dict[str, Any]:
    """The server's memory before, halfway through and after so many calls and page loads, in MiB.

    `before`: pages that are opened first, as many as the server keeps; what they and their networks take stays.
    """
    rest = usual_arguments(address)
    for seed in range(before):
        visitor = Visitor(address, seed, rest)
        visitor.open()
        visitor.call()
    found, refused = [resident_bytes(pid)], []
    for half in range(2):
        for number in range(loads // 2):
            visitor = Visitor(address, 1000 * (half + 1) + number, rest)
            visitor.open()
            refused += filter(None, [visitor.call() for _ in range(calls // loads)])
        found.append(resident_bytes(pid))
    names = ("before_mib", "halfway_mib", "after_mib")
    sizes = (round(size / 2**20, 1) for size in found)
    return {"calls": calls, "loads": loads, "refused": len(refused), **dict(zip(names, sizes, strict=True))}


def main() -> None:
    """Measure and print, a line each; the last one is for programs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer seconds, visitors, calls and loads")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    with (
        tempfile.TemporaryDirectory() as home,
        served_from(
            Path(home),
            "--host",
            "127.0.0.1",
            REDISTILL_CACHE=f"{home}/cache",
            GRADIO_TEMP_DIR=f"{home}/gradio",
            **SPACE,
        ) as (address, pid),
    ):
        found: dict[str, Mapping[str, Any]] = {
            "twenty": crowd(address, 20, sizes["minute"], 1.0, processes=sizes["processes"]),
            "many": crowd(address, sizes["many"], sizes["ten"], 1.0, processes=8),
            "memory": kept(address, pid, sizes["calls"], sizes["loads"], sizes["kept"]),
        }
    for name, figures in found.items():
        print(name, ", ".join(f"{key} {value}" for key, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    twenty, many, memory = found.values()
    print(
        f"visitors median_ms={twenty['median_ms']} p95_ms={twenty['p95_ms']} refused={twenty['refused']} "
        f"many_p95_ms={many['p95_ms']} many_refused={many['refused']} "
        f"grown_mib={memory['after_mib'] - memory['halfway_mib']:.1f}"
    )
    if refused := twenty["refused"] + memory["refused"]:
        raise SystemExit(f"{refused:,} calls were refused, so the times are none of answers.")


if __name__ == "__main__":
    main()
