"""`python -m redistill`: the shell, see `redistill.cli`."""

import gc
import sys
from collections.abc import Sequence


def shell(arguments: Sequence[str] | None = None) -> int:
    """Run one command, as `main` of `cli.commands`, which is imported first; 130 after Ctrl-C, then too."""
    try:
        gc.disable()  # what is loaded stays, and looking for garbage in it takes a seventh of the start
        from .cli.commands import main

        gc.freeze()
        gc.enable()
        return main(arguments)
    except KeyboardInterrupt:  # from before `main` sees to it
        print("redistill: stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(shell())
