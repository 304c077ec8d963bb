"""Peak memory reduction of CNNs and diffusion U-Nets by residual encoded distillation (arXiv 2406.03744).

The public names below load on first use, so that importing the package costs nothing.
"""

import getpass
import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here

_PUBLIC = {
    "find_pooling_points": "networks.pooling_points",
    "set_strides": "networks.strides",
    "align": "networks.alignment",
    "REDBlock": "networks.red",
    "REDConfig": "networks.red",
    "StudentConfig": "networks.student",
    "build_student": "networks.student",
    "load_teacher": "checkpoint.teacher",
    "capture": "memory.tape",
    "compare": "memory.comparison",
    "measure_peak": "memory.measure",
    "search_strides": "memory.search",
    "patched": "networks.patchwise",
    "count_patched": "memory.patching",
    "red_loss": "training.losses",
    "kd_loss": "training.losses",
    "DistillConfig": "training.config",
    "distill": "training.loop",
    "estimate": "training.estimation",
    "evaluate": "training.evaluation",
    "save": "checkpoint.folder",
    "load": "checkpoint.folder",
    "load_split": "data.datasets",
    "sample": "diffusion.sampling",
    "push": "deploy.publish",
}
__all__ = list(_PUBLIC)

try:
    getpass.getuser()
except (
    KeyError,
    OSError,
):  # a number that no list of users knows, as in a container: torch's import would fail over it
    os.environ["USER"] = f"user-{os.getuid()}"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'redistill' has no attribute {name!r}; its public names are {__all__}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
