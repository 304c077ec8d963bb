"""Drawing with several networks at once, one page at a time: what is shown before, meanwhile and then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from ..parts.fragments import field_refusal, notice, status_line
from ..parts.turns import Turn, Turns
from ..runs import choices
from ..runs.lent import CALL_SECONDS
from ..visitors import quota, who
from ..visitors.place import is_zero_gpu
from . import lent_drawing, view
from .checks import MAX_STEPS, check_names, check_numbers
from .networks import Network, load_elsewhere, load_network
from .samples import PREVIEWS, Samples, keep_samples, sample_all, thumbnails

DONE = "Done. Click an image to see how it came about."
_turns = Turns()


def announce(teacher: Any, students: Any, seed: Any, count: Any, kept: Any) -> dict[str, Any]:
    """Until the page samples for the first time: the chosen networks, their memory, and the noise they start from."""
    if kept is not None:
        return {}
    try:
        seeds, _ = check_numbers(seed, count, MAX_STEPS)
        networks = [*map(load_network, check_names(teacher, students))]
    except (ValueError, OSError) as error:
        gone = {"grids": "", "real": "", "legend": "", "charted": gr.Column(visible=False)}
        return {"said": notice("", str(error)), **gone}
    said = view.INTRODUCTION + view.strangers(networks)
    return {"said": said, "grids": view.panels(networks, seeds, ready=True), **_charted(networks)}


def generate(
    teacher: Any,
    students: Any,
    seed: Any,
    count: Any,
    steps: Any,
    scheduler: Any,
    other: Any = "",
    request: gr.Request | None = None,
) -> Iterator[dict[str, Any]]:
    """Sample with all chosen networks, step by step together, and show the images as they come.

    One page samples at a time, the one that asked first; the others say that they wait, and can be stopped.
    """
    with _turns.take(request) as turn:
        for looks, _ in enumerate(turn.wait()):
            yield {} if looks else _running(status_line("Waiting for another drawing…"))
        if turn.has_come:
            yield from _sample(turn, teacher, students, seed, count, steps, scheduler, other)
        else:
            yield _ended(status_line("Stopped before it began."))


def _sample(
    turn: Turn,
    teacher: Any,
    students: Any,
    seed: Any,
    count: Any,
    steps: Any,
    scheduler: Any,
    other: Any,
) -> Iterator[dict[str, Any]]:
    yield _running(status_line("Loading…"))
    try:
        seeds, steps = check_numbers(seed, count, steps)
        with _of_source():
            source = choices.read_source(other)
        names = check_names(teacher, students, also=bool(source))
        found = [*map(load_network, names)]
        with _of_source():
            found += [load_elsewhere(source)] if source else []
        networks = [*{network.folder: network for network in found}.values()]  # each once
        noise = view.panels(networks, seeds)  # the images before cannot be clicked any more
        yield {**_running(status_line("Loading…"), noise), **_kept(()), **_charted(networks)}
        if is_zero_gpu():
            yield from _sample_lent(turn, networks, seeds, steps, scheduler)
            return
        words, ways = DONE, [[(0, thumbnails(network.noise(seeds)))] for network in networks]
        for sampled in sample_all(networks, seeds, steps, scheduler):
            step = sampled[0].step.step
            if turn.is_stopped and step < steps:
                words = f"Stopped at step {step} of {steps}."
                break
            if step % max(1, steps // PREVIEWS) == 0 and step < steps:
                for way, network in zip(ways, sampled, strict=True):
                    way.append((step, thumbnails(network.step.images)))
                yield _running(status_line(f"Step {step} of {steps}"), view.panels(sampled, seeds))
        kept = tuple(keep_samples(network, seeds, scheduler, way) for network, way in zip(sampled, ways, strict=True))
    except (ValueError, OSError) as error:
        at_field = {"other_said": field_refusal(str(error))} if isinstance(error, _SourceRefused) else {}
        yield {**_ended(notice("Nothing drawn.", str(error))), **at_field}
        return
    said = status_line(words) + view.strangers(networks)
    yield {**_ended(said), "grids": view.panels(sampled, seeds, kept), **_kept(kept)}


class _SourceRefused(ValueError):
    """The checkpoint from elsewhere cannot be had, in one sentence."""


@contextlib.contextmanager
def _of_source() -> Iterator[None]:
    """Lets what does not fit in this block be of the checkpoint from elsewhere."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise _SourceRefused(str(error)) from error


def forget_refusal(other_said: Any) -> dict[str, Any]:
    """What was said of another source than the one that is typed now goes."""
    return {"said": "", "other_said": ""} if other_said else {}


def _sample_lent(
    turn: Turn, networks: Sequence[Network], seeds: list[int], steps: int, scheduler: Any
) -> Iterator[dict[str, Any]]:
    """The same on a GPU that is lent by the call: some images of all networks at a time, and what is left of it."""
    ahead = lent_drawing.calls(networks, len(seeds), steps)
    asked = f"About {ahead} calls" if ahead > 1 else "One call"
    yield _running(status_line(f"{asked} of a lent GPU, each of at most {CALL_SECONDS:.0f} s…{_quota()}"))
    drawn, words, refused = None, DONE, ""
    try:
        for drawn in lent_drawing.draw_lent(networks, seeds, steps, scheduler):
            quota.spend(drawn.used)
            if len(drawn.seeds) == len(seeds):
                break
            said = f"{len(drawn.seeds)} of {len(seeds)} images drawn…{_quota()}"
            yield _running(status_line(said), view.panels(drawn.networks, drawn.seeds))
            if turn.is_stopped:
                words = f"Stopped at {len(drawn.seeds)} of {len(seeds)} images."
                break
    except ValueError as error:
        if drawn is None:
            raise
        words, refused = "What was drawn before stands here.", notice("Not all drawn.", str(error))
    kept = _kept_of(drawn, scheduler)
    said = refused + status_line(words + _quota()) + view.strangers(networks)
    yield {**_ended(said), "grids": view.panels(drawn.networks, drawn.seeds, kept), **_kept(kept)}


def _quota() -> str:
    return f" {quota.said(who.account_of_request())}"


def _kept_of(drawn: lent_drawing.Drawn, scheduler: Any) -> tuple[Samples, ...]:
    """What stays of the images that calls have drawn, with the noise that they came from."""
    found = zip(drawn.networks, drawn.ways, strict=True)
    ways = [(network, ((0, thumbnails(network.noise(drawn.seeds))), *way)) for network, way in found]
    return tuple(keep_samples(network, drawn.seeds, scheduler, way) for network, way in ways)


def _running(said: str, grids: str | None = None) -> dict[str, Any]:
    buttons = {"go": gr.Button(interactive=False), "stop": gr.Button(interactive=True)}
    shown = {"said": said, "other_said": "", **buttons}
    return shown if grids is None else {**shown, "grids": grids}


def _ended(said: str) -> dict[str, Any]:
    return {"said": said, "go": gr.Button(interactive=True), "stop": gr.Button(interactive=False)}


def _kept(samples: tuple[Samples, ...]) -> dict[str, Any]:
    """The images that can be clicked and saved from now on; what was looked at before goes."""
    return {"kept": samples, "saving": gr.Column(visible=bool(samples)), "way": "", "near": ""}


def _charted(networks: Sequence[Network]) -> dict[str, Any]:
    charted = {"charted": gr.Column(visible=True), "legend": view.legend(networks), "chart": view.chart(networks)}
    return {**charted, "real": view.real_card(networks)}


def stop_sampling(request: gr.Request | None = None) -> None:
    """Let the page's sampling end after the step that it is at."""
    _turns.stop(request)
