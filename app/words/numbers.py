"""Numbers as people read them: bytes, ratios, shares, durations. No gradio, no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30


def format_kib(count: float) -> str:
    """1,536 → "1.5 KiB", a tebibyte → "1,073,741,824 KiB": bytes as a budget is typed, to a thousandth."""
    return f"{count / _KIB:,.3f}".rstrip("0").rstrip(".") + " KiB"


def format_bytes(count: int, like: int | None = None) -> str:
    """1,048,576 → "1.00 MiB": MiB with two decimals from half a MiB on; below that KiB with three digits, and B.

    With `like`, in the unit of so many bytes, for figures that stand below each other.
    """
    if like is not None:
        name = format_bytes(like).split()[1]
        amount = count / {"B": 1, "KiB": _KIB, "MiB": _MIB, "GiB": _GIB}[name]
        if format_bytes(count).split()[1] != name:
            return f"{amount:,.0f} {name}" if amount >= 1000 else f"{amount:.3g} {name}"
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB")):
        if count >= unit // 2:
            return f"{count / unit:,.0f} {name}" if count >= 100 * unit else f"{count / unit:.2f} {name}"
    if count < _KIB:
        return f"{count} B"
    kib = count / _KIB
    return f"{kib:.0f} KiB" if kib >= 99.95 else f"{kib:.1f} KiB" if kib >= 9.995 else f"{kib:.2f} KiB"


def common_unit(peaks: Sequence[int]) -> int:
    """A number of bytes in whose unit, as `like` of `format_bytes`, peaks of one view stand: KiB, as chips are told,
    where any is below half a MiB and all below ten."""
    return _KIB if min(peaks) < _MIB // 2 and max(peaks) < 10 * _MIB else max(peaks)


def format_ratio(before: float, after: float) -> str:
    """How many times smaller `after` is: 4.98 → "5.0×", 0.834 → "0.83×", 128.4 → "128×"."""
    ratio = before / after if after else math.inf
    if ratio >= 100:
        return f"{ratio:.0f}×"
    return f"{ratio:.1f}×" if ratio >= 0.995 else f"{ratio:.2f}×"


def format_percent(share: float) -> str:
    """0.9123 → "91.2 %"."""
    return f"{100 * share:.1f} %"


def format_added(share: float) -> str:
    """0.142 → "+14 %", of computation."""
    percent = 100 * share
    return f"{percent:+.0f} %" if abs(percent) >= 9.95 else f"{percent:+.1f} %"


def format_count(count: int, like: int | None = None) -> str:
    """11,689,512 → "11.7 M"; with `like` in the unit of such a number, for figures that stand below each other."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if (count if like is None else like) >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return str(count)


def format_duration(seconds: float) -> str:
    """75 → "1 min 15 s"; hours carry minutes, minutes carry seconds."""
    whole = max(0, round(seconds))
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_time(seconds: float) -> str:
    """A moment in seconds since 1970 as the day and minute here: "28 Nov 08:12"."""
    moment = time.localtime(seconds)
    return f"{moment.tm_mday} {time.strftime('%b %H:%M', moment)}"


def format_number(value: float) -> str:
    """Three significant digits, for losses and rates: 0.034567 → "0.0346"."""
    return f"{value:.3g}"


def format_margin(value: float, margin: float) -> str:
    """A figure and its margin to the margin's second significant digit: 0.15358 and 0.0307 → "0.154 ± 0.031"."""
    if not (math.isfinite(value) and math.isfinite(margin) and margin > 0):
        return f"{format_number(value)} ± {format_number(margin)}"
    digits = max(0, 1 - math.floor(math.log10(margin)))
    return f"{value:.{digits}f} ± {margin:.{digits}f}"


def format_pixels(image_size: int | Sequence[int]) -> str:
    """224 → "224 px", (480, 640) → "480×640 px"."""
    return f"{image_size if isinstance(image_size, int) else format_size(image_size)} px"


def format_size(size: Sequence[int]) -> str:
    """(16, 16) → "16×16"."""
    return "×".join(str(side) for side in size)
