"""What of the results is in sight: group, filter, zoom, memory and ticked ones, and the address of it. No gradio."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from redistill.common.values import is_number

from ..runs.result import Result
from .drawn import TITLES

MOST_TICKED = 2  # results whose difference is shown
MAX_LENGTH = 2000  # characters of an address
MAX_WORDS, MAX_KEY = 200, 300  # characters of the filter, and of a result's key
MAX_BYTES = 2**50
MAX_SCORE = 1e9  # of a loss
KEYS = ("on", "by", "words", "peak", "score", "memory", "tick")
Span = tuple[float | None, float | None]
NO_SPAN: Span = (None, None)


@dataclass(frozen=True)
class Sight:
    """What all views show. Whatever a page or an address sends becomes one: see `read` and `from_query`."""

    group: str | None = None  # None: the one with the most results
    words: str = ""  # all of which a result has in its name
    peaks: Span = NO_SPAN  # ends of the memory in sight, in bytes; None: as the results have it
    scores: Span = NO_SPAN  # ends of the score in sight: a share, a loss, or what they are judged by
    memory: int | None = None  # bytes, whose results stand beside each other; None: that of the headline
    ticked: tuple[str, ...] = ()  # keys of results, at most MOST_TICKED
    by: str = ""  # what results are judged by, one of drawn.TITLES

    @property
    def is_narrowed(self) -> bool:
        """Whether a filter or a zoom leaves results out."""
        return bool(self.words.split()) or self.peaks != NO_SPAN or self.scores != NO_SPAN

    def has_words(self, result: Result) -> bool:
        """Whether the filter lets a result through."""
        name = " ".join((result.title, result.origin, result.state, result.kind, result.learning)).lower()
        return all(word in name for word in self.words.lower().split())

    def shows(self, result: Result) -> bool:
        """Whether filter and zoom let a result through."""
        return self.has_words(result) and _is_in(result.peak_bytes, self.peaks) and _is_in(result.score, self.scores)

    def tick(self, key: str) -> Sight:
        """With one result more, or without it where it was ticked; the one ticked longest makes room."""
        kept = tuple(other for other in self.ticked if other != key)
        more = kept if key in self.ticked else (*kept, key)
        return dataclasses.replace(self, ticked=more[-MOST_TICKED:])


def read(
    group: Any, by: Any, words: Any, peaks: Sequence[Any], scores: Sequence[Any], memory: Any, ticked: Any
) -> Sight:
    """A sight of what controls of the page hold, whatever that is: what cannot be read is left out."""
    is_whole = isinstance(memory, int) and not isinstance(memory, bool) and 0 < memory < MAX_BYTES
    return Sight(
        group if isinstance(group, str) else None,
        words[:MAX_WORDS] if isinstance(words, str) else "",
        read_span(peaks, most=MAX_BYTES),
        read_span(scores),
        memory if is_whole else None,
        read_ticked(ticked),
        by if isinstance(by, str) and by in TITLES else "",
    )


def read_ticked(ticked: Any) -> tuple[str, ...]:
    """Keys of the results that are ticked, at most MOST_TICKED, whether there are such or not."""
    keys = ticked if isinstance(ticked, (list, tuple)) else ()
    return tuple(dict.fromkeys(key for key in keys if isinstance(key, str) and len(key) <= MAX_KEY))[-MOST_TICKED:]


def read_span(ends: Sequence[Any], most: float = MAX_SCORE) -> Span:
    """Two ends, the smaller first; what is no number within the range is open."""
    low, high = (float(end) if is_number(end) and 0 <= end <= most else None for end in (*ends, None, None)[:2])
    return (high, low) if low is not None and high is not None and low > high else (low, high)


def read_ends(name: str, text: Any, example: str) -> Span:
    """The ends in a field of the page: "48-128", "48-" or "48", "-128", or none at all; a ValueError for all else."""
    text = text.strip() if isinstance(text, str) else ""
    end = r"(\d{1,12}(?:\.\d{1,9})?)"
    found = re.fullmatch(rf"{end}?\s*(?:[-–]\s*{end}?)?", text, re.ASCII)
    if not found:
        raise ValueError(
            f"{name} are {_clip(text)}; expected two ends such as {example}, or one as in {example.partition('-')[0]}-."
        )
    ends = [None if one is None else float(one) for one in found.groups()]
    if any(one is not None and one > MAX_SCORE for one in ends):
        raise ValueError(f"{name} are {_clip(text)}; expected ends of at most {MAX_SCORE:,.0f}.")
    return read_span(ends)


def ends_text(span: Sequence[float | None]) -> str:
    """Two ends as `read_ends` takes them: "48-128", "" where both are open."""
    ends = [_end(end, 4) for end in span]
    return "-".join(ends) if any(ends) else ""


def to_query(sight: Sight) -> str:
    """ "on=imagenette&peak=49152-131072&tick=..."; what is as usual is left out."""
    pairs = [("on", sight.group)] if sight.group else []
    pairs += [("by", sight.by)] if sight.by else []
    pairs += [("words", sight.words.strip())] if sight.words.strip() else []
    spans = (("peak", sight.peaks, 0), ("score", sight.scores, 6))
    pairs += [(key, "-".join(_end(end, digits) for end in span)) for key, span, digits in spans if span != NO_SPAN]
    pairs += [("memory", sight.memory)] if sight.memory else []
    return urlencode([*pairs, *(("tick", key) for key in sight.ticked)], safe=":,")


def from_query(text: str) -> Sight:
    """The sight of an address' query. Raises ValueError, in one sentence, for a key or value that is none."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it is {len(text):,} characters long; expected at most {MAX_LENGTH:,}.")
    query = parse_qs(text, keep_blank_values=True)
    for key, values in query.items():
        if key not in KEYS:
            raise ValueError(f"{_clip(key)} is no part of it; expected {', '.join(KEYS)}.")
        if len(values) > (MOST_TICKED if key == "tick" else 1):
            raise ValueError(
                f"{key} stands in it {len(values)} times; expected it at most {MOST_TICKED if key == 'tick' else 1}×."
            )
    single = {key: values[0] for key, values in query.items() if key != "tick"}
    memory = single.get("memory")
    if memory is not None and not re.fullmatch("[1-9][0-9]{0,14}", memory):
        raise ValueError(f"memory is {_clip(memory)}; expected bytes such as 65536.")
    by = single.get("by", "")
    if by not in TITLES:
        raise ValueError(f"by is {_clip(by)}; expected one of {', '.join(filter(None, TITLES))}.")
    return Sight(
        single.get("on") or None,
        single.get("words", "")[:MAX_WORDS],
        _span(single, "peak", "49152-131072"),
        _span(single, "score", "0.7-0.8"),
        int(memory) if memory else None,
        tuple(dict.fromkeys(query.get("tick", ()))),
        by,
    )


def _span(query: Mapping[str, str], key: str, example: str) -> Span:
    text = query.get(key, "-")
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)?-(\d{1,15}(?:\.\d{1,9})?)?", text, re.ASCII)
    if not found:
        raise ValueError(f"{key} is {_clip(text)}; expected two ends such as {example}.")
    return read_span([float(end) if end else None for end in found.groups()], most=MAX_BYTES)


def _end(end: float | None, digits: int) -> str:
    if end is None:
        return ""
    return f"{end:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{end:.0f}"


def _is_in(value: float | None, span: Span) -> bool:
    if span == NO_SPAN:
        return True
    return value is not None and (span[0] is None or value >= span[0]) and (span[1] is None or value <= span[1])


def _clip(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
