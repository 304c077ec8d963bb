"""The ways of counting memory that the page offers, by the names that links carry."""

from __future__ import annotations

from typing import Any, NamedTuple

from redistill.memory.comparison import Comparison, compare
from redistill.networks.student import StudentConfig


class Counting(NamedTuple):
    """One way of counting, as `redistill.memory` takes it."""

    title: str
    accounting: str
    fuse_add: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `compare` and of `Tape.profile`."""
        return {"accounting": self.accounting, "fuse_add": self.fuse_add}


COUNTINGS = {
    "fused": Counting("Deployed (fused)", "fused"),
    "eager": Counting("PyTorch (eager)", "eager"),
    "fused-add": Counting("Deployed, sums in convolutions", "fused", fuse_add=True),
    "onnxruntime": Counting("onnxruntime (CPU)", "onnxruntime"),
    "executorch": Counting("ExecuTorch (planned)", "executorch"),
}


def check_counting(name: Any) -> Counting:
    """The way of counting of that name; ValueError, with the names there are, for any other."""
    if not isinstance(name, str) or name not in COUNTINGS:
        raise ValueError(f"accounting is {str(name)[:40]!r}; expected one of {list(COUNTINGS)}.")
    return COUNTINGS[name]


def compare_as(config: StudentConfig, counting: str = "fused", dtype: str = "fp32", batch: int = 1) -> Comparison:
    """A student beside its teacher, counted that way, `batch` images at a time."""
    return compare(config, dtype=dtype, batch=batch, **check_counting(counting).settings)


def counting_of(found: Comparison) -> str:
    """The name of the way in which a comparison was counted."""
    settings = {"accounting": found.student.accounting, "fuse_add": found.fuse_add}
    return next(name for name, counting in COUNTINGS.items() if counting.settings == settings)
