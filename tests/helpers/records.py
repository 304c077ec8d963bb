"""What runs have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redistill.training.run_state import MetricsFile


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """All records of a run, however many there are."""
    return MetricsFile(run_dir).read()[0]
