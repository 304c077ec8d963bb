"""What the sentences of refusals and notes share, and how those are told that stop nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

LONGEST = 300  # characters of what an error of others says


def listed(texts: Sequence[str], most: int) -> str:
    """The first `most` of them with commas between, and how many more there are: "a, b and 1,002 more"."""
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def first_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop, cut to `LONGEST`; what kind it is where it says nothing.

    Of an OSError its reason alone: the sentence around it names the file.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:LONGEST].rstrip(".")


class Note(UserWarning):
    """A warning for people, in sentences: something was left out, or takes longer than it need."""


@contextlib.contextmanager
def notes_told(tell: Callable[[str], None]) -> Iterator[None]:
    """A block in which every `Note` is told as it stands, without Python's place of it, each one once; other warnings
    are as ever, but those of Pillow about what it reads all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        warnings.simplefilter("always", Note)
        usual, told = warnings.showwarning, set()

        def show(message: Warning | str, category: type[Warning], *place: object, **further: object) -> None:
            if not issubclass(category, Note):
                usual(message, category, *place, **further)
            elif str(message) not in told:
                told.add(str(message))
                with contextlib.suppress(OSError):  # a full disk may hold the log too
                    tell(str(message))

        warnings.showwarning = show
        yield
