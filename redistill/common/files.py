"""Files that are read whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON in one step: readers see the old file or the new one."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` in one step: readers see the old file or the new one."""
    replace_file(path, lambda temporary: temporary.write_text(text))


def replace_file(path: Path, write) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError, naming the file, where there is none or it is broken."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"No file {path}; expected a JSON file written by redistill.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}); restore it or start a new folder.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__}; expected a JSON object.")
    return value
