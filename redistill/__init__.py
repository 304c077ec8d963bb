"""Peak memory reduction of CNNs and diffusion U-Nets by residual encoded distillation (arXiv 2406.03744).

The public names below load on first use, so that importing the package costs nothing. Training and sampling are
`redistill.distill.distill` and `redistill.sampling.sample`.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "find_pooling_points": "strides",
    "set_strides": "strides",
    "align": "alignment",
    "REDBlock": "red",
    "REDConfig": "red",
    "StudentConfig": "student",
    "build_student": "student",
    "capture": "memory",
    "measure_peak": "memory",
    "search_strides": "search",
    "red_loss": "losses",
    "DistillConfig": "config",
    "load": "checkpoint",
    "load_teacher": "teachers",
    "load_split": "datasets",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'redistill' has no attribute {name!r}; its public names are {__all__}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
