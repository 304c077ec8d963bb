"""Names that a command is given, each one of those that there are."""

from __future__ import annotations

import argparse
from collections.abc import Collection


def known_names(parser: argparse.ArgumentParser, names: list[str], choices: Collection[str], what: str) -> list[str]:
    """The names; the command ends, naming the choices, where one is none of them."""
    for name in names:
        if name not in choices:
            parser.error(f"no {what} {name!r}; expected some of {list(choices)}")
    return names
