"""How figures of several seeds are put together, the same in every table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean of one figure over seeds and half its range, which is 0 for one seed."""
    return statistics.mean(values), (max(values) - min(values)) / 2
