"""Whether GPUs are lent here, which is found out and never configured, and what the processes of runs are told."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from .access import is_shared

# What a process of a run needs to find: programs, folders, devices, the network. Tokens and secrets are not among it.
_NAMES = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEM",
          "SPACE_ID", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT",
          "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_XET", "SSL_CERT_FILE", "SSL_CERT_DIR",
          "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "KINETO_LOG_LEVEL",
          "REDISTILL_CACHE", "REDISTILL_DATA", "REDISTILL_CHECKPOINTS", "REDISTILL_RUNS",
          "REDISTILL_MOST_DOWNLOAD"}  # fmt: skip
_FAMILIES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "PYTORCH_")


def is_zero_gpu() -> bool:
    """Whether GPUs are lent for the seconds of a call, as the package `spaces` itself asks; it has to be there."""
    lent = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return is_shared() and lent and ("spaces" in sys.modules or find_spec("spaces") is not None)


def worker_environment() -> dict[str, str]:
    """The environment of processes that the page starts: all of it, and on a Space only what they need."""
    if not is_shared():
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if _is_needed(name)} | {
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"
    }


def _is_needed(name: str) -> bool:
    return name.upper() in _NAMES or name.startswith(_FAMILIES)
