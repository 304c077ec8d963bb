"""The run that goes on from a trained classifier as in int8, for where rounding costs accuracy: its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.metadata import read_metadata
from ..checkpoint.sources import CONFIG
from .config import DistillConfig

# A hundred small steps from where it stands (at a rate of 3e-4 it forgets more than it learns); its own answers in fp32
# are learnt beside the labels.
SETTINGS: dict[str, Any] = {
    "quantize": "int8", "init": "teacher", "red_weight": 0.0, "kd_weight": 0.2, "steps": 100, "batch_size": 64,
    "learning_rate": 3e-5, "schedule": "cosine", "warmup_steps": 10, "weight_decay": 0.0, "freeze_batch_norm": True,
    "validate_every": 25, "save_every": 25,
}  # fmt: skip
# Of those, and of what is the checkpoint's own, what a person may want otherwise.
OPEN = ("dataset", "kd_weight", "steps", "batch_size", "train_limit", "learning_rate", "validate_every", "save_every",
        "seed", "device")  # fmt: skip


def int8_run(checkpoint: str | Path, **changes: Any) -> DistillConfig:
    """Settings of a run that trains a checkpoint's own network, RED blocks too, as in int8, with it as its teacher.

    checkpoint: a folder or a name, or the folder of a finished run. changes: settings of OPEN by name. Raises
    ValueError for what is no checkpoint of a classifier, and for settings that do not fit.
    """
    inner = Path(checkpoint) / "student"
    place = inner if (inner / CONFIG).is_file() else checkpoint
    metadata = read_metadata(place)
    if metadata.student.task != "classification":
        raise ValueError(f"{checkpoint} is a diffusion network; only classifiers are trained as in int8.")
    own = {"student": metadata.student, "dataset": metadata.dataset, "split_seed": metadata.split_seed}
    return DistillConfig(**(own | {"teacher_checkpoint": str(place)} | SETTINGS | changes))
