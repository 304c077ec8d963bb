"""The finished run of a student that ships, with its curves: what the panel shows to whom has no run yet. No gradio.

Its records lie beside the weights, every third step of them. It is no run of anybody's: it cannot be deleted, gone on
with or exported here.
"""

from __future__ import annotations

from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import find_checkpoint
from redistill.training.run import METRICS

from ..runs import jobs
from ..runs.choices import shipped_title

NAME = "imagenette-student"


def shipped_run() -> jobs.Run | None:
    """The run as its files tell of it; None where the checkpoints do not ship."""
    try:
        folder = find_checkpoint(NAME)
        metadata = read_metadata(folder)
    except (ValueError, OSError):
        return None
    if not (folder / METRICS).is_file():
        return None
    steps = int(metadata.metrics["step"])
    return jobs.Run(NAME, folder, shipped_title(NAME), "finished", steps, steps, config=metadata.training)
