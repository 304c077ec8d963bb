"""Endpoints that hand networks and pictures on: generate, export, push, load. A file comes as its content in base64."""

from __future__ import annotations

import base64
from collections import deque
from typing import Annotated, Literal

from pydantic import Field

from ..generate import files
from ..generate.checks import MAX_FIRST_SEED, MAX_STEPS, MAX_STUDENTS
from ..generate.lent_drawing import draw_lent
from ..generate.networks import Network, load_network
from ..generate.samples import keep_samples, sample_all
from ..runs import choices, from_hub
from ..runs.exports import KINDS, export_run
from ..runs.pushing import push_run
from ..visitors import quota
from ..visitors.place import is_zero_gpu
from ..visitors.who import token_of_request
from .kinds import Name, Scheduler, text, whole

Checkpoints = Annotated[list[Name], Field(min_length=1, max_length=MAX_STUDENTS + 1)]
Runtimes = Annotated[list[Literal[tuple(KINDS)]], Field(max_length=len(KINDS), description="files to export too")]
Token = text(400, "of the Hub; by default that of your sign-in, or on your own machine yours") | None


def generate(
    checkpoints: Checkpoints | None = None,
    first_seed: whole(0, MAX_FIRST_SEED, "of the images, which have the seeds after it") = 0,
    count: whole(1, 16, "images of each") = 4,
    steps: whole(1, MAX_STEPS, "denoising steps") = 40,
    scheduler: Scheduler = "ddim",
    files_as: Literal["grid", "zip"] = "grid",
) -> dict:
    """Draw with diffusion checkpoints, the same seeds with each: a grid as PNG, a row for each, or a zip of all images.

    Without checkpoints the answer only lists those there are. The settings that draw an image again stand in its file.

    Example:
        client.predict(["emoji-faces-student"], count=1, steps=2, api_name="/generate")
    """
    offered = [choice.value for choice in choices.checkpoints(choices.is_diffusion)]
    if checkpoints is None:
        return {"offered": offered, "networks": [], "files": []}
    networks = [load_network(name) for name in dict.fromkeys(checkpoints)]
    seeds = list(range(first_seed, first_seed + count))
    done = _draw(networks, seeds, steps, scheduler)
    kept = [keep_samples(network, seeds, scheduler, ()) for network in done]
    name, kind, write = {
        "grid": ("images.png", "image/png", files.grid_png),
        "zip": ("images.zip", "application/zip", files.zip_file),
    }[files_as]
    rows = [
        {
            "checkpoint": network.key,
            "title": network.title,
            "peak_bytes": network.profile.peak_bytes,
            "eager_peak_bytes": network.eager_bytes,
            "seconds": round(network.step.seconds, 3),
        }
        for network in done
    ]
    return {"offered": offered, "networks": rows, "files": [file_of(name, kind, write(kept))]}


def _draw(networks: list[Network], seeds: list[int], steps: int, scheduler: str) -> list[Network]:
    """The networks with all images drawn, where a GPU is lent by the call by as many calls as that takes."""
    if not is_zero_gpu():
        return deque(sample_all(networks, seeds, steps, scheduler), maxlen=1).pop()  # not the images of all steps
    for drawn in draw_lent(networks, seeds, steps, scheduler):
        quota.spend(drawn.used)
    return list(drawn.networks)


def export(run: Name, kind: Literal[tuple(KINDS)] = "onnx") -> dict:
    """The checkpoint of a finished run as the file of a runtime: ONNX, in int8 too, C or ExecuTorch.

    It has run there before it is given, which takes a while.

    Example:
        client.predict(run, "onnx", api_name="/export")
    """
    made = export_run(run, kind)
    return {"said": made.lines, "files": [file_of(made.name, "application/octet-stream", made.content)]}


def push(
    run: Name,
    repo: text(200, "owner/name"),
    private: bool = False,
    token: Token = None,
    runtimes: Runtimes | None = None,
) -> dict:
    """Push the network of a run that has ended to the Hugging Face Hub, with a card that says what it saves.

    The shell, the library and `load` take it from there as "hub:owner/name".

    Example:
        client.predict(run, "someone/small-student", api_name="/push")
    """
    return {"address": push_run(run, repo, private, token or token_of_request(), runtimes or ())}


def load(
    network: text(300, "hub:owner/name of a network that was pushed, with @revision where wanted"),
    token: Token = None,
) -> dict:
    """Bring in a network that was pushed to the Hugging Face Hub; `checkpoint` of the answer is its name from then on.

    `start` takes that as `teacher_checkpoint` where it fits, and `generate` draws with it where it is a diffusion
    network; `student` is what it is built from.

    Example:
        client.predict("hub:someone/small-student", api_name="/load")
    """
    choice = from_hub.take(network, token or token_of_request())
    card = choice.metadata
    told = {"checkpoint": choice.value, "title": choice.title, "dataset": card.dataset, "metrics": dict(card.metrics)}
    return told | {"student": card.student.to_dict(), "class_names": list(card.class_names)}


def file_of(name: str, kind: str, content: bytes) -> dict:
    """A file of an answer."""
    return {"name": name, "media_type": kind, "bytes": len(content), "base64": base64.b64encode(content).decode()}
