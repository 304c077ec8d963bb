"""How figures of several seeds are put together, the same in every table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean of one figure over seeds and half its range, which is 0 for one seed."""
    return statistics.mean(values), (max(values) - min(values)) / 2


def percent(shares: Sequence[float]) -> str:
    """ "77.7 ± 0.3" of shares of one over seeds, "77.7" of one seed, nothing of none."""
    values = [100 * share for share in shares]
    return " ± ".join(f"{one:.1f}" for one in mean_and_spread(values)[: len(values)]) if values else ""
