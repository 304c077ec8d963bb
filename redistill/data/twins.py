"""Whether pictures are those that a network has learnt from, whatever their files are called and however stored.

A checkpoint keeps a fingerprint each of some of its training pictures. A fingerprint says which side of 128 planes the
picture lies on, averaged to 8 x 8 grey values: of one picture, stored anew or at another size, it is nearly the same,
of two pictures it differs in many bits, and nobody can see the picture in it. It is SimHash (Charikar, "Similarity
estimation techniques from rounding algorithms", STOC 2002, section 3) of small pictures.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.values import is_whole

SIDE = 8  # of the averaged picture
BITS = 128
MOST = 512  # fingerprints that a checkpoint keeps
NEAR = 8  # bits in which fingerprints of one picture may differ
MOST_COUNT = 2**40  # pictures that anybody has
LEAST = 3  # twins that are no chance
CHUNK = 4096  # pictures that are averaged at once


@dataclass(frozen=True)
class Learnt:
    """Pictures that a network has learnt from."""

    count: int  # all of them
    bits: np.ndarray  # bool (n, BITS), of n of them

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"pictures": self.count, "fingerprints": base64.b64encode(np.packbits(self.bits, axis=1)).decode()}

    @classmethod
    def from_dict(cls, values: object) -> Learnt | None:
        """What `to_dict` gave; None for anything else."""
        if not isinstance(values, Mapping) or not is_whole(values.get("pictures"), 1, MOST_COUNT):
            return None
        text = values.get("fingerprints")
        if not isinstance(text, str) or not 0 < len(text) <= 4 * BITS * MOST // 8:
            return None
        try:
            packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        except ValueError:
            return None
        if packed.size == 0 or packed.size % (BITS // 8):
            return None
        bits = np.unpackbits(packed.reshape(-1, BITS // 8), axis=1).astype(bool)
        return cls(values["pictures"], bits) if len(bits) <= values["pictures"] else None


def learnt_from(images: Tensor) -> Learnt:
    """Training pictures, uint8 (N, 3, height, width): fingerprints of up to `MOST`, evenly spread over them."""
    return Learnt(len(images), fingerprints(images[_known(len(images))]))


def _known(count: int) -> Tensor:
    """int64: the places of those of `count` pictures whose fingerprints are kept."""
    return torch.linspace(0, count - 1, min(MOST, count)).round().long()


def fingerprints(images: Tensor) -> np.ndarray:
    """bool (N, BITS) of pictures, uint8 (N, 3, height, width) on any device."""
    found = []
    for part in images.split(CHUNK):
        grey = F.adaptive_avg_pool2d(part.float().mean(1, keepdim=True), SIDE).flatten(1).cpu().double().round()
        found.append((grey - grey.mean(1, keepdim=True)) @ _planes().T > 0)
    return torch.cat(found).numpy() if found else np.zeros((0, BITS), bool)


def share_learnt(learnt: Learnt, pictures: np.ndarray, others: Learnt | None = None) -> float:
    """Which share of pictures, by their fingerprints, are among those that a network has learnt, as far as the ones
    that are known stand for all of them; 0 where there are too few twins to say so.

    `others` are of the same kind and known to be other pictures. Where those have twins too, or the learnt ones among
    themselves, as frames of one film have, twins say little: what is usual among them is taken off.
    """
    if not len(pictures):
        return 0.0
    twins = float(_near(pictures, learnt.bits).any(0).mean())
    itself = _near(learnt.bits, learnt.bits)
    np.fill_diagonal(itself, False)
    usual = max(float(itself.any(0).mean()), float(_near(pictures, others.bits).any(0).mean()) if others else 0.0)
    if (twins - usual) * len(learnt.bits) < min(LEAST, len(pictures)):
        return 0.0
    return min(1.0, (twins - usual) / (1 - usual) * learnt.count / len(pictures))


def share_changed(before: Learnt, now: Learnt) -> float:
    """Which share of the pictures that are known of a network's are not there any more, as far as they can be told.

    Of equally many pictures each is compared with the one at its place, else with any of them.
    """
    near = _near(before.bits, now.bits)
    is_there = near.diagonal() if before.count == now.count and len(before.bits) == len(now.bits) else near.any(1)
    return 1 - float(is_there.mean())


def share_changed_first(before: Learnt, images: Tensor) -> tuple[float, int]:
    """`share_changed` of the first training pictures alone, uint8 (N, 3, height, width), and of how many it is."""
    rows = _known(before.count)
    if len(rows) != len(before.bits):
        return 0.0, 0
    known = rows < len(images)
    if not known.any():
        return 0.0, 0
    is_there = _near(before.bits[known.numpy()], fingerprints(images[rows[known]])).diagonal()
    return 1 - float(is_there.mean()), len(is_there)


def _near(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (len(some), len(others)): which differ in at most `NEAR` bits."""
    first, second = (torch.from_numpy(2 * bits.astype(np.float32) - 1) for bits in (some, others))
    return (first @ second.T >= BITS - 2 * NEAR).numpy()


@functools.cache
def _planes() -> Tensor:
    """float64 (BITS, SIDE · SIDE) of -1 and 1: the same wherever and whenever it is asked for."""
    count = BITS * SIDE * SIDE // 256
    digests = b"".join(hashlib.sha256(f"plane {number}".encode()).digest() for number in range(count))
    return torch.from_numpy(2.0 * np.unpackbits(np.frombuffer(digests, np.uint8)).reshape(BITS, SIDE * SIDE) - 1)
