"""How sure a share is that was counted on so many pictures."""

from __future__ import annotations

import math

Z = 1.96  # standard deviations of a 95 % interval


def wilson(share: float, count: int) -> tuple[float, float]:
    """Bounds of the 95 % interval of a share, from 0 to 1, that was found on `count` independent pictures.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927); it holds for few pictures
    and near 0 and 1 too. (0, 1) for no picture.
    """
    if count == 0:
        return 0.0, 1.0
    middle = share + Z**2 / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
