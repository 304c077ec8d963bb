"""Events that take their time: one of a kind at a time, in the order in which they were asked for, and stopped by the
page that asked.

Gradio's queue would let a page wait without a word, and its `cancels` would not do: what is on its way from a cancelled
event still reaches the page, after what was meant to take its place; and such an event may stay pending there, so that
the next click on its button does nothing. So the event itself waits for its turn and looks between its steps whether it
is to end, and its last answer is in place.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LOOK_SECONDS = 0.3  # between two looks whether it is one's turn
MAX_PAGES = 16  # that go on or wait; others wait in gradio's queue, which says nothing


@dataclass(eq=False)
class Turn:
    """The place of an event in its line."""

    page: str
    line: list[Turn] = field(repr=False)
    is_stopped: bool = False  # its page asked that it ends

    @property
    def has_come(self) -> bool:
        return self.line[0] is self

    def wait(self) -> Iterator[None]:
        """Until it has come or is stopped. Gradio ends an event whose page is gone where it yields at each of these."""
        while not self.has_come and not self.is_stopped:
            yield
            time.sleep(LOOK_SECONDS)


class Turns:
    """The line of one kind of event."""

    def __init__(self) -> None:
        self._line: list[Turn] = []

    @contextlib.contextmanager
    def take(self, request: Any) -> Iterator[Turn]:
        """A place at the end of the line while an event of the page goes on."""
        turn = Turn(_page(request), self._line)
        self._line.append(turn)
        try:
            yield turn
        finally:
            self._line.remove(turn)

    def stop(self, request: Any) -> None:
        """Let the page's events that go on or wait stop where they look next."""
        for turn in self._line:
            turn.is_stopped |= turn.page == _page(request)


def _page(request: Any) -> str:
    return getattr(request, "session_hash", None) or ""
