"""Events that take their time and can be stopped by the page that asked for them.

Gradio's `cancels` would not do: what is on its way from a cancelled event still reaches the page, after what was
meant to take its place; and such an event may stay pending there, so that the next click on its button does nothing.
So the event itself looks between its steps whether it is to end, and its last answer is in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


class Stops:
    """Which pages asked that their event stops; one for each kind of event."""

    def __init__(self) -> None:
        self._going: list[str] = []  # a page as often as events of it go on
        self._asked: set[str] = set()

    @contextlib.contextmanager
    def going(self, request: Any) -> Iterator[Callable[[], bool]]:
        """While an event of the page goes on; what it gives says whether the page asked since that it stops."""
        page = _page(request)
        self._asked.discard(page)
        self._going.append(page)
        try:
            yield lambda: page in self._asked
        finally:
            self._going.remove(page)
            if page not in self._going:
                self._asked.discard(page)

    def ask(self, request: Any) -> None:
        """Let the page's event stop where it looks next; nothing where none goes on."""
        if (page := _page(request)) in self._going:  # or names of pages that are gone would stay
            self._asked.add(page)


def _page(request: Any) -> str:
    return getattr(request, "session_hash", None) or ""
