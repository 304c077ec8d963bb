"""Drawing on a GPU that is lent for the seconds of a call, as on ZeroGPU: each call draws some images of all networks.

An image is the same whatever is drawn beside it, so calls share nothing. How many fit in one is estimated by the
networks' multiply-adds, and from the first call on by what it took. No gradio.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.diffusion.sampling import SampleStep, sample

from ..runs.lent import CALL_SECONDS, SPARE_SECONDS
from ..visitors.lending import lent
from .networks import Network
from .samples import PREVIEWS, Way, thumbnails

START_SECONDS = 3.0  # of a call and network: weights are read and brought to the GPU
RATE = 1e12  # multiply-adds a second, few for a GPU: a first call rather has time left than ends before it is done
LEAST = 0.04  # seconds that a step takes at least, however small it is
DOUBT = 1.3  # an estimate is multiplied by
_SLOWER: dict[str, float] = {}  # by a network's key: what its steps took, over what RATE and LEAST say


@dataclass(frozen=True)
class Drawn:
    """What all calls so far have drawn."""

    networks: tuple[Network, ...]  # with the images of `seeds` as their step, whose seconds are of all calls
    ways: tuple[Way, ...]  # of each network's images
    seeds: tuple[int, ...]
    used: float  # seconds of the GPU, of the last call


def step_seconds(network: Network, count: int) -> float:
    """What one denoising step of so many images takes, in seconds."""
    return _SLOWER.get(network.key, 1.0) * _guess(network, count)


def _guess(network: Network, count: int) -> float:
    return max(LEAST, network.profile.macs * count / RATE)


def call_seconds(networks: Sequence[Network], count: int, steps: int) -> int:
    """What a call asks for that draws so many images of each network."""
    work = sum(START_SECONDS + steps * step_seconds(network, count) for network in networks)
    return math.ceil(DOUBT * work + SPARE_SECONDS)


def fitting(networks: Sequence[Network], count: int, steps: int) -> int:
    """How many of `count` images a call draws. ValueError where not even one fits."""
    sizes = range(count, 0, -1)
    fits = next((size for size in sizes if call_seconds(networks, size, steps) <= CALL_SECONDS), 0)
    if not fits:
        raise ValueError(
            f"One image of {'each' if len(networks) > 1 else 'it'} takes about "
            f"{call_seconds(networks, 1, steps)} s of the GPU, and a call has {CALL_SECONDS:.0f} s; take fewer "
            f"denoising steps{' or fewer networks' if len(networks) > 1 else ''}."
        )
    return fits


def calls(networks: Sequence[Network], count: int, steps: int) -> int:
    """How many calls draw so many images."""
    return math.ceil(count / fitting(networks, count, steps)) if count else 0


def draw_lent(networks: Sequence[Network], seeds: Sequence[int], steps: int, scheduler: Any) -> Iterator[Drawn]:
    """Draw with all networks, call by call: what there is after each. ValueError for what does not fit in a call, and
    for what ZeroGPU or the drawing refuses; what was drawn before stays drawn."""
    images: list[list[Tensor]] = [[] for _ in networks]
    ways: list[list[Way]] = [[] for _ in networks]
    took = [0.0] * len(networks)
    done = 0
    while done < len(seeds):
        count = fitting(networks, len(seeds) - done, steps)
        wish = {"folders": [str(network.folder) for network in networks], "seeds": list(seeds[done : done + count])}
        wish |= {"steps": steps, "scheduler": scheduler, "seconds": call_seconds(networks, count, steps)}
        answer = draw_some(wish)
        if "refusal" in answer:
            raise ValueError(answer["refusal"])
        done += count
        for place, (network, row) in enumerate(zip(networks, answer["networks"], strict=True)):
            images[place].append(row["images"])
            ways[place].append(row["way"])
            took[place] += row["seconds"]
            _SLOWER[network.key] = row["seconds"] / (steps * _guess(network, count))
        peaks = [row["peak_bytes"] for row in answer["networks"]]
        records = [
            SampleStep(steps, steps, torch.cat(one), True, seconds, peak)
            for one, seconds, peak in zip(images, took, peaks, strict=True)
        ]
        sampled = [dataclasses.replace(network, step=step) for network, step in zip(networks, records, strict=True)]
        yield Drawn(tuple(sampled), tuple(map(_joined, ways)), tuple(seeds[:done]), answer["used"])


def _joined(ways: Sequence[Way]) -> Way:
    """The ways of images of several calls as one."""
    return tuple((moments[0][0], torch.cat([images for _, images in moments])) for moments in zip(*ways, strict=True))


def _seconds_of(wish: Mapping[str, Any]) -> int:
    return int(wish["seconds"])


@lent(_seconds_of)
def draw_some(wish: Mapping[str, Any]) -> dict[str, Any]:
    """Draw images of `seeds` with the networks in `folders`: one call of the GPU. What each has drawn, and the seconds
    `used`, or a `refusal` in one sentence, since an error would reach the page by the name of its class alone."""
    started = time.monotonic()
    try:
        rows = [_draw(Path(folder), wish) for folder in wish["folders"]]
    except (ValueError, OSError, torch.OutOfMemoryError) as error:
        return {"refusal": str(error)}
    return {"networks": rows, "used": time.monotonic() - started}


def _draw(folder: Path, wish: Mapping[str, Any]) -> dict[str, Any]:
    model = load_unet(folder).to("cuda" if torch.cuda.is_available() else "cpu")
    settings = {"scheduler": wish["scheduler"], "steps": wish["steps"], "noise_scheduler": load_scheduler(folder)}
    way: list[tuple[int, Tensor]] = []
    for record in sample(model, wish["seeds"], preview_every=max(1, wish["steps"] // PREVIEWS), **settings):
        if not record.done:
            way.append((record.step, thumbnails(record.images)))
    return {"images": record.images, "way": tuple(way), "seconds": record.seconds, "peak_bytes": record.peak_bytes}
