"""What each part of the method adds, step by step, for one network at one setting of strides. No gradio."""

from __future__ import annotations

import dataclasses
import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.networks.alignment import BY_SIZE
from redistill.training.config import OF_A_RUN

from ..parts import plots
from ..runs.result import Result
from ..words import numbers
from .pieces import bars, marks, ring, score_axis, teacher_line
from .ways import METHODS, method_of, place_title, score_of

HEIGHT = 410  # pixels
WIDTH, NARROW = 11, 8  # letters of a line below a step, and of one on a phone
Part = dict[str, Any]
# What a method in METHODS adds to the one before it; "more places" is the last one with blocks at every stage.
STEPS = {
    "from scratch": "from scratch",
    "teacher’s weights": "teacher’s weights",
    "RED blocks": "RED blocks",
    "RED": "RED loss",
    "RED + KD": "KD",
    "RED stage-wise + KD": "more places",
}
# Settings that the steps differ in, and those that make no other network.
_PARTS = ("init", "teacher_checkpoint", "red_weight", "distance", "kd_weight", "kd", "temperature")
_LEFT_OUT = (*_PARTS, *OF_A_RUN, "validate_every", "dkd_alpha", "dkd_beta")


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Results of one network, strides and training, each with one part more than the one before."""

    steps: tuple[tuple[str, Result], ...]  # what is added, see STEPS, and the result with it

    @property
    def title(self) -> str:
        """ "Strides 4·1·2·1·2, 900 steps of 128 pictures"."""
        result = self.steps[-1][1]
        place, config = place_title(result), result.config
        return f"{place[:1].upper()}{place[1:]}, {config.steps:,} steps of {config.batch_size} pictures"


def find_ladders(results: Sequence[Result]) -> list[Ladder]:
    """Every network and training of which at least two steps are known, that of the most steps and seeds first."""
    known: dict[str, list[Result]] = {}
    for result in results:
        if step_of(result) is not None:
            known.setdefault(_common(result), []).append(result)
    ladders = [ladder for own in known.values() if (ladder := _longest(own))]
    return sorted(ladders, key=lambda ladder: _length(ladder.steps), reverse=True)


def choose_ladder(ladders: Sequence[Ladder], memory: int | None, ticked: Sequence[str]) -> Ladder | None:
    """The first that has a ticked result, else the first that has one of that memory, else the first of all."""
    of_ticked = [one for one in ladders if {*ticked} & {result.key for _, result in one.steps}]
    of_memory = [one for one in ladders if memory in {result.peak_bytes for _, result in one.steps}]
    return next(iter([*of_ticked, *of_memory, *ladders]), None)


def step_of(result: Result) -> str | None:
    """Which of STEPS a result is; None for what is none, such as other networks and other losses."""
    config = result.config
    if result.kind or result.has_own_strides or not result.is_tested or config.stride_vectors:
        return None
    if config.student.red is not None and config.student.alignment != BY_SIZE:
        return STEPS.get(result.learning) if config.init == "teacher" else None
    method = method_of(result)
    is_started = config.init == ("scratch" if method == "from scratch" else "teacher")
    return STEPS.get(method) if is_started else None


def _common(result: Result) -> str:
    """What all steps of a ladder share."""
    settings = {name: value for name, value in result.config.to_dict().items() if name not in _LEFT_OUT}
    settings["student"] = {
        name: value for name, value in settings["student"].items() if name not in ("red", "alignment")
    }
    return json.dumps(settings, sort_keys=True, default=str)


def _knobs(result: Result) -> dict[str, Any]:
    """The settings of the parts that a result has; two steps of one ladder do not differ in them."""
    config = result.config
    knobs: dict[str, Any] = {} if config.student.red is None else {"red": config.student.red}
    if config.student.red is not None and config.red_weight and config.teacher_checkpoint:
        knobs |= {"red_weight": config.red_weight, "distance": config.distance}
    if config.kd_weight and config.teacher_checkpoint:
        knobs |= {"kd_weight": config.kd_weight, "temperature": config.temperature, "kd": config.kd}
    return knobs | ({"teacher": config.teacher_checkpoint} if config.teacher_checkpoint else {})


def _longest(results: Sequence[Result]) -> Ladder | None:
    """Of the ladders that these results can make, that of the most steps, then of the most seeds."""
    best: list[tuple[str, Result]] = []
    for anchor in results:
        steps = [(step_of(anchor), anchor)]
        for name in reversed(STEPS.values()):  # those with the most settings of their own first
            fits = [one for one in results if step_of(one) == name and all(_agree(one, other) for _, other in steps)]
            if fits and name != steps[0][0]:
                steps.append((name, max(fits, key=lambda one: len(one.scores))))
        best = max(best, steps, key=_length)
    return Ladder(_in_order(dict(best))) if len(best) > 1 else None


def _in_order(steps: Mapping[str, Result]) -> tuple[tuple[str, Result], ...]:
    """The steps in the order of STEPS; what a step has that nobody tried alone is in its name too."""
    found: list[tuple[str, Result]] = []
    missing: list[str] = []
    for name in STEPS.values():
        missing.append(name)
        if name in steps:
            found.append((" + ".join(missing) if found else name, steps[name]))
        if name in steps or not found:
            missing = []
    return tuple(found)


def _agree(one: Result, other: Result) -> bool:
    own, others = _knobs(one), _knobs(other)
    return all(own[name] == others[name] for name in own.keys() & others.keys())


def _length(steps: Sequence[tuple[str, Result]]) -> tuple[int, int]:
    return len(steps), sum(len(result.scores) for _, result in steps)


def ladder_figure(ladder: Ladder, ticked: Sequence[str] = (), teacher: Result | None = None) -> Part:
    """The steps from left to right against the test score: means, bars from the least to the greatest seed, parameters.

    Above each mark stands what it adds to the one before. The dashed line is the score of `teacher`.
    """
    found = [result for _, result in ladder.steps]
    ends = [end for result in [*found, *([teacher] if teacher else [])] for end in result.range]
    pad = 0.14 * (max(ends) - min(ends)) or 0.01
    line = {"color": plots.GREY, "width": 1.5}
    joined = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": line}
    data = [joined | {"x": list(range(len(found))), "y": [result.score for result in found]}, _marks(found)]
    data += [ring(i, result.score) for i, result in enumerate(found) if result.key in ticked]
    layout = plots.base_layout(
        hovermode="closest",
        showlegend=False,
        margin={"l": 70, "r": 14, "t": 14, "b": 122},
        xaxis={**plots.AXIS, "range": [-0.5, len(found) - 0.5], "fixedrange": True, **_ticks(ladder)},
        yaxis=score_axis(found, (min(ends) - pad, max(ends) + pad), ticks=7),
        annotations=[*_changes(found), *([_teacher_words(teacher)] if teacher else [])],
        shapes=[teacher_line(teacher.score, "y")] if teacher else [],
    )
    narrow = {"font": {**layout["font"], "size": 9}, "margin": {**layout["margin"], "l": 56, "r": 4}}
    narrow["xaxis"] = {**layout["xaxis"], **_ticks(ladder, NARROW)}
    return {"data": data, "layout": layout, "narrow": narrow}


def _ticks(ladder: Ladder, width: int = WIDTH) -> Part:
    """Below each step, in lines of about `width` letters, its parameters, and its memory where that differs."""
    peaks = {result.peak_bytes for _, result in ladder.steps}
    names = [f"+ {name}" if i else name for i, (name, _) in enumerate(ladder.steps)]
    words = [textwrap.wrap(name, width, break_long_words=False) for name in names]
    most = max(map(len, words))
    texts = []
    for lines, (_, result) in zip(words, ladder.steps, strict=True):
        figures = [_parameters(result), *([numbers.format_bytes(result.peak_bytes)] if len(peaks) > 1 else [])]
        texts.append("<br>".join([*lines, *[" "] * (most - len(lines)), *figures]))
    below = "Below each its parameters" + (", and its peak memory" if len(peaks) > 1 else "")
    below = below.replace(", ", ",<br>") if width == NARROW else below
    title = {"text": below, "standoff": 6, "font": {"size": 12}}
    return {"tickvals": list(range(len(texts))), "ticktext": texts, "tickangle": 0, "showgrid": False, "title": title}


def _parameters(result: Result) -> str:
    count = result.figures.get("parameters")
    return numbers.format_count(count) if count else "–"


def _marks(found: Sequence[Result]) -> Part:
    marker = {"size": 11, "symbol": "square", "color": [METHODS[method_of(result)] for result in found]}
    places, scores = range(len(found)), [result.score for result in found]
    return marks(found, places, scores, marker=marker, error_y=bars(found, plots.GREY))


def _changes(found: Sequence[Result]) -> list[Part]:
    look = {"showarrow": False, "yanchor": "bottom", "yshift": 9, "font": {"size": 12, "color": "var(--chart-ink)"}}
    texts = [score_of(found[0]), *(change_text(one, other) for one, other in itertools.pairwise(found))]
    words = [{"x": i, "y": found[i].range[1], "text": text, **look} for i, text in enumerate(texts)]
    if found[1].score > found[0].score:  # where the line rises, its wide words would touch it
        words[0] |= {"y": found[0].range[0], "yanchor": "top", "yshift": -9}
    return words


def change_text(before: Result, after: Result) -> str:
    """ "+2.4" percentage points, or the change of the loss."""
    change = after.score - before.score
    text = (f"{100 * change:+.1f}" if after.is_classifier else f"{change:+.2g}").replace("-", "−")
    return "±0.0" if text in ("+0.0", "−0.0") else text


def is_within_seeds(before: Result, after: Result) -> bool | None:
    """Whether two results differ by no more than their seeds do; None where one has a single seed, so nobody knows."""
    if min(len(before.scores), len(after.scores)) < 2:
        return None
    return before.range[0] <= after.range[1] and after.range[0] <= before.range[1]


def _teacher_words(teacher: Result) -> Part:
    look = {"showarrow": False, "xref": "paper", "x": 0, "xanchor": "left", "yanchor": "top", "yshift": -2}
    font = {"size": 11, "color": "var(--chart-text)"}
    return {**look, "y": teacher.score, "text": f"teacher {score_of(teacher)}", "font": font}
