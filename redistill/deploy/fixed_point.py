"""Factors as integers: multiplier / 2^shift, as processors without floating point multiply."""

from __future__ import annotations

import numpy as np

BITS = 31  # of a multiplier, which an int32 holds
MOST_SHIFT = 62  # of a 64-bit product


def multipliers(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """multiplier, int32, and shift, uint8, of each factor: within 2^-31 of it, as a share.

    factors: float64, positive and below 2^30. Raises ValueError for others. What is below 2^-32 becomes 0.
    """
    if not (np.isfinite(factors).all() and (factors >= 0).all() and (factors < 2.0**30).all()):
        raise ValueError(f"A factor between two scales is {np.max(factors)}; expected 0 to 2^30.")
    fraction, exponent = np.frexp(factors)
    multiplier = np.rint(fraction * 2.0**BITS).astype(np.int64)
    carried = multiplier == 2**BITS
    multiplier, exponent = np.where(carried, multiplier // 2, multiplier), exponent + carried
    shift = BITS - exponent
    lost = (multiplier == 0) | (shift > MOST_SHIFT)
    return np.where(lost, 0, multiplier).astype(np.int32), np.where(lost, 1, shift).astype(np.uint8)


def shared_multipliers(factors: np.ndarray) -> tuple[np.ndarray, int]:
    """Multipliers, int32, of factors of either sign that are added, and the shift that they share.

    The largest has 24 bits, so that 64 hold any sum of two with a term of the result's size. Raises ValueError for
    factors that are not finite or too large.
    """
    largest = float(np.abs(factors).max(initial=0.0))
    if not largest < 2.0**20:
        raise ValueError(f"A factor between two scales is {largest}; expected one below 2^20.")
    shift = int(min(MOST_SHIFT - 16, max(1, 24 - np.frexp(largest)[1])))
    return np.rint(factors * 2.0**shift).astype(np.int32), shift


def check_sums(weights: np.ndarray, bias: np.ndarray, name: str) -> None:
    """ValueError where a sum of int8 weights times numbers from -255 to 255, and its bias, could leave an int32."""
    most = np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1) * 255 + np.abs(bias)
    if (most >= 2**31).any():
        raise ValueError(f"The sums of {name} can reach {int(most.max()):,}, more than the 2^31 that 32 bits hold.")
