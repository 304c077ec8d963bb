"""`python -m redistill`: train, distil, estimate, evaluate, sample and count memory from the shell."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from tqdm import tqdm

from .. import __version__
from ..common.disk import is_refusal
from ..common.sentences import notes_told
from . import checkpoints, counting, deploying, elsewhere, runs

BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell says of a program that this signal ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 after one sentence on stderr when the input or the disk did not allow it.

    130 after Ctrl-C, and 141, without a word, where who reads the output has closed it.
    """
    options = _parser().parse_args(arguments)
    for number in runs.SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with notes_told(_note):
            options.run(options)
        sys.stdout.flush()  # now, while what goes wrong can still be told
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the end of Python would write once more
        return BROKEN_PIPE
    except (ValueError, OSError) as error:
        with contextlib.suppress(OSError):  # a full disk may hold the log too
            print(f"redistill: {_said(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        continues = "; the same command continues the run" if options.run in runs.CONTINUED else ""
        print(f"redistill: stopped{continues}.", file=sys.stderr)
        return 130
    return 0


def _said(error: Exception) -> str:
    """What an error says, as one sentence where it is the system's own: that has a number and no word of what to do."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    place = error.filename2 or error.filename or "A file or the output"
    remedy = "; free some room, or choose another place" if is_refusal(error) else ""
    return f"{place} cannot be read or written ({error.strerror}){remedy}."


def _note(text: str) -> None:
    """Tell it on stderr, above a bar that stands there."""
    tqdm.write(f"redistill: {text}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, without the fifty lines of usage that argparse puts before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists what it takes.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="redistill", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], told: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=told)
        command.set_defaults(run=run)
        return command

    for module in (runs, elsewhere, checkpoints, counting, deploying):
        module.add_commands(add)
    return parser
