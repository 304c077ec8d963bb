"""The stride vectors that one set of weights is trained for, and which of them a step sees.

The space of a network are the choices of strides that `search_strides` tries, all with its total reduction, so that its
last maps keep their size: those with no more alive at once than the arena of its own strides has room for, whatever
their own arenas need beyond that, so that none that fits where the network does is missing. What has more alive is no
student, and takes most of the time: of the narrow ResNet's 65 choices at 64 px the 14 above its peak take over half.
Of a student with RED blocks all of that counts with them, against the network without: 30 choices are left of the 65.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..memory.comparison import student_tape
from ..memory.search import Candidate, search_strides
from ..memory.tape import Tape
from ..networks.alignment import BY_SIZE
from ..networks.red import REDConfig
from ..networks.student import StudentConfig

LEAST = 2  # vectors a step: with fewer there would be either anchors or the rest
ANCHORS = 3  # kinds of them, see `VectorSpace.draw`
ON_FRONT = 4  # of so many draws that favour the front, one is of all vectors
PROBED = 5  # vectors that stand for all of the space where weights are judged while they are trained

Strides = Mapping[str, int]


@dataclass(frozen=True)
class VectorSpace:
    """The stride vectors of a network at an image size, the least memory needed first."""

    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]  # of least memory needed for most MACs
    largest: Candidate  # the network's own; where RED blocks leave these out, what computes most on the front

    @property
    def smallest(self) -> Candidate:
        """The least memory needed there is, with the most MACs at it."""
        return self.candidates[0]

    def find(self, strides: Strides) -> Candidate | None:
        """The one with these strides of every pooling point; None for strides outside the space."""
        return next((one for one in self.candidates if one.strides == dict(strides)), None)

    def draw(self, count: int, generator: torch.Generator, step: int, favours_front: bool = False) -> list[Candidate]:
        """`count` vectors for training step `step`: anchors, which take turns from step to step, and random ones.

        The sandwich rule (Yu and Huang, "Universally slimmable networks and improved training techniques", 2019):
        the largest network and the smallest hold the others between them. Here the anchors are the `largest`
        vector, the smallest, and one of the front, where a budget will look for its strides; three at most, and one
        less than `count`. The others are drawn evenly from all, or with `favours_front` three in four from the front:
        nobody takes strides off it, but those that lie between its own hold them together.
        """
        anchors = (self.largest, self.smallest, self.front[_below(len(self.front), generator)])
        chosen = min(count - 1, ANCHORS)
        turn = [anchors[(step * chosen + place) % ANCHORS] for place in range(chosen)]
        return turn + [self._any(generator, favours_front) for _ in range(count - chosen)]

    def _any(self, generator: torch.Generator, favours_front: bool) -> Candidate:
        some = self.front if favours_front and _below(ON_FRONT, generator) else self.candidates
        return some[_below(len(some), generator)]

    def mean_macs(self, count: int, favours_front: bool = False) -> float:
        """Multiply-accumulates of one picture through all `count` vectors of a step, in the mean over steps."""
        front, everywhere = (_mean_macs(some) for some in (self.front, self.candidates))
        drawn = front + (everywhere - front) / ON_FRONT if favours_front else everywhere
        chosen = min(count - 1, ANCHORS)
        anchors = (self.largest.macs + self.smallest.macs + front) / ANCHORS
        return chosen * anchors + (count - chosen) * drawn

    def probes(self) -> list[Candidate]:
        """Up to `PROBED` vectors spread evenly over the front, its ends among them, and the `largest`."""
        last = len(self.front) - 1
        spread = [self.front[round(last * place / (PROBED - 2))] for place in range(PROBED - 1)]
        return list({tuple(one.strides.values()): one for one in (self.largest, *spread)}.values())


def _mean_macs(some: Sequence[Candidate]) -> float:
    return statistics.mean(one.macs for one in some)


def _below(count: int, generator: torch.Generator) -> int:
    drawn: Tensor = torch.randint(count, (), generator=generator, device=generator.device)
    return int(drawn)


def vector_space(student: StudentConfig) -> VectorSpace:
    """The space of a student's own network at its image size, with its RED blocks; its strides do not count.

    Raises ValueError as `search_strides` does, and where no choice of strides has room for RED blocks.
    """
    return space_of(student_tape(student), student.image_size, student.red, student.alignment)


@lru_cache(maxsize=8)  # a second for the larger networks
def space_of(tape: Tape, image_size: int, red: REDConfig | None = None, alignment: str = BY_SIZE) -> VectorSpace:
    """The space of a tape's network at an image size, with RED blocks where it is aligned with itself."""
    found = search_strides(tape, image_size, red=red, alignment=alignment)
    room = found.teacher.needed_bytes
    candidates, front = (
        tuple(one for one in some if one.peak_bytes <= room) for some in (found.candidates, found.front)
    )
    if not front:
        raise ValueError(
            f"With RED blocks no choice of strides peaks within the {room:,} bytes that the network needs without; "
            "expected blocks that need less, such as squeezed ones, or none."
        )
    largest = found.teacher if red is None else front[-1]
    return VectorSpace(candidates, front, largest)
