"""How all views of Compare tell results apart: what each learnt from by colour, its kind by the mark. No gradio."""

from __future__ import annotations

from collections.abc import Sequence

from ..parts import plots
from ..runs.result import SHARED, Result
from ..words import numbers
from ..words.settings import join_strides, network_title, seeds_text
from .drawn import QUALITY

TEACHER, OTHERS = "teacher", "others"
# What a network learnt from decides its colour; the losses have the same ones in a run's curves. In the order in which
# "what each part adds" goes.
METHODS = {
    TEACHER: "var(--chart-text)",
    "from scratch": plots.BLUE,
    "teacher’s weights": "#b4588f",
    "RED blocks": plots.VIOLET,
    "RED": plots.RED,
    "KD": plots.GOLD,
    "RED + KD": plots.STUDENT,
    OTHERS: plots.GREY,
}
STRIDES = "other strides"
SYMBOLS = {  # a kind of network → its mark
    STRIDES: "square",
    "smaller images": "circle",
    "narrower networks": "triangle-up",
    "patches": "diamond",
    "networks for phones": "hexagon",
    "other networks": "hexagon2",
    SHARED: "star",
}


def method_of(result: Result) -> str:
    """What a result learnt from, one of METHODS: "RED blocks" are those without their loss."""
    config = result.config
    if result.has_own_strides and result.learning == "on its own" and not config.stride_vectors:
        return TEACHER if result.kind in ("", "patches") else _alone(result)
    if result.learning == "on its own":
        return _alone(result)
    learning = result.learning.replace("RED stage-wise", "RED")
    has_blocks, needs_blocks = config.student.red is not None, "RED" in learning
    return learning if learning in METHODS and has_blocks == needs_blocks else OTHERS


def _alone(result: Result) -> str:
    if result.config.student.red is not None:
        return "RED blocks" if result.config.init == "teacher" else OTHERS
    return "from scratch" if result.config.init == "scratch" else "teacher’s weights"


def kind_of(result: Result) -> str:
    """Which of SYMBOLS a result stands as."""
    if result.config.stride_vectors:
        return SHARED
    if result.kind in SYMBOLS:
        return result.kind
    return "other networks" if result.is_other_network or result.kind else STRIDES


def each_setting(results: Sequence[Result]) -> list[Result]:
    """One result of each setting, that of the most seeds, in their order: what ships is often one seed of a study."""
    found: dict[str, Result] = {}
    for result in results:
        known = found.setdefault(result.setting, result)
        if len(result.seeds) > len(known.seeds):
            found[result.setting] = result
    return list(found.values())


def chosen_on_validation(results: Sequence[Result]) -> Result | None:
    """The tested setting that is best on validation pictures, of those with several seeds where there are any.

    Test pictures have no part in the choice; None where no tested result has a validation figure.
    """
    known = [result for result in each_setting(results) if result.is_tested and result.validation is not None]
    known = [result for result in known if len(result.seeds) > 1] or known
    return min(
        known, key=lambda result: -result.validation if result.is_classifier else result.validation, default=None
    )


def teacher_of(results: Sequence[Result]) -> Result | None:
    """The best tested teacher of a group."""
    teachers = [result for result in results if result.is_teacher and result.is_tested]
    return min(teachers, key=lambda result: result.cost, default=None)


def place_title(result: Result) -> str:
    """The network at its strides, without what it learnt from: "strides 4·1·2·1·2", "Narrow ResNet 28 px"."""
    if result.kind:
        return result.title.partition(",")[0]
    student = result.config.student
    strides = f"strides {join_strides(student.strides)}" if student.strides else "own strides"
    return strides if not result.is_other_network else f"{network_title(student)}, {strides}"


def learning_title(result: Result) -> str:
    """What tells a result from others of its place: "RED + KD, batch 64"."""
    if result.key.startswith("run:"):
        return result.title.partition(" · ")[2] or result.title
    rest = result.title.partition(", ")[2]
    return rest if rest and not result.key.startswith("shipped:") else result.title


def score_text(result: Result) -> str:
    """ "77.7 % ± 0.3", "0.115", in brackets while it is a validation figure, "–" while there is none."""
    if result.score is None:
        return "–"
    if result.margin is not None:
        return numbers.format_margin(result.score, result.margin)
    text = score_of(result)
    if len(result.scores) > 1:
        text += (
            f" ± {100 * result.spread:.1f}" if result.is_classifier else f" ± {numbers.format_number(result.spread)}"
        )
    return text if result.is_tested else f"({text})"


def score_of(result: Result) -> str:
    """The score without its spread."""
    return numbers.format_percent(result.score) if result.is_classifier else numbers.format_number(result.score)


def score_name(result: Result) -> str:
    """What the score is, within a sentence: "test accuracy", "test loss", "KID"."""
    return QUALITY.get(result.judged_by) or ("test accuracy" if result.is_classifier else "test loss")


def score_title(result: Result | None) -> str:
    """What stands at the axis of the score of such results: "Test accuracy", "KID (lower is better)"."""
    if result is None:
        return "Test accuracy"
    name = score_name(result)
    return name[:1].upper() + name[1:] + (" (lower is better)" * (not result.is_better_high))


def range_text(result: Result) -> str:
    """ "mean of 3 seeds, 77.4 to 78.0 %", or "one seed"; of a score with a margin its interval."""
    if result.margin is not None:
        least, most = map(numbers.format_number, result.range)
        return f"95 % interval {least} to {most}"
    if len(result.scores) < 2:
        return "one seed"
    least, most = result.range
    if result.is_classifier:
        ends = f"{100 * least:.1f} to {numbers.format_percent(most)}"
    else:
        ends = f"{numbers.format_number(least)} to {numbers.format_number(most)}"
    return f"mean of {len(result.scores)} seeds, {ends}"


def memory_titles(peaks: Sequence[int]) -> dict[int, str]:
    """Each peak in words short enough for a button, and in bytes beside it where two would read the same."""
    short = {peak: numbers.format_bytes(peak) for peak in peaks}
    texts = list(short.values())
    return {peak: f"{text} ({peak:,} B)" if texts.count(text) > 1 else text for peak, text in short.items()}


def hover_text(result: Result) -> list[str]:
    """The lines that stand under the pointer at a mark, not escaped."""
    name = "accuracy" if result.is_classifier else "loss"
    what = score_name(result) if result.is_tested else f"best validation {name} so far"
    lines = [result.title, f"{score_text(result)} {what}", f"peak {numbers.format_bytes(result.peak_bytes)}"]
    if result.is_tested and (len(result.scores) > 1 or result.margin is not None):
        lines[1] += f" ({range_text(result)})"
    if result.figures.get("parameters"):
        lines.append(f"{numbers.format_count(result.figures['parameters'])} parameters")
    return [*lines, f"{seeds_text(result.seeds)}, {result.origin}"]
