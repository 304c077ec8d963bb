"""What a classifier takes for what: its confusion matrix, and the figures of each class with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..data.classes import names_or_numbers
from ..data.source import Split
from .classification import predicted
from .intervals import wilson


def confusion(model: nn.Module, split: Split, classes: int) -> Tensor:
    """How often pictures of class i were taken for class j: int64 (classes, classes), by true and predicted class.

    Labels of the split are places of the model's outputs; runs where the model's weights are. Raises ValueError for a
    model that takes pictures for a class that is none of these, and as `classification.predicted` does.
    """
    found = predicted(model, split)
    if len(found) and int(found.max()) >= classes:
        raise ValueError(f"The network takes a picture for class {int(found.max())}; expected classes below {classes}.")
    pairs = split.labels.cpu() * classes + found
    return pairs.bincount(minlength=classes * classes).view(classes, classes)


def figures_of(counts: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """`accuracy` with its 95 % `interval` and number of `pictures` of a confusion matrix, the same `per_class` for
    those that have pictures, and the matrix itself: `confusion`, a row for each true class; plain JSON values."""
    names = names_or_numbers(names, len(counts))
    per_class = {
        name: _share(int(row[place]), int(row.sum()))
        for place, (name, row) in enumerate(zip(names, counts, strict=True))
        if row.sum()
    }
    whole = _share(int(counts.diagonal().sum()), int(counts.sum()))
    return {**whole, "per_class": per_class, "confusion": {"classes": names, "rows": counts.tolist()}}


def _share(right: int, count: int) -> dict[str, Any]:
    share = right / count
    return {"accuracy": share, "interval": list(wilson(share, count)), "pictures": count}
