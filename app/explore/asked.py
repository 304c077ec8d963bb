"""Cards that answer when their button is clicked, since what they tell takes longer than a click may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gradio as gr

from ..parts.events import QUIET, UNSEEN, connect
from ..parts.fragments import notice, status_line
from .form import read_settings
from .link import Settings


class Asked(NamedTuple):
    """One such card: `button` and `result` are names of parts of the page, and `answer` gives the result's HTML."""

    button: str
    result: str
    waiting: str  # words that stand there until the result does
    refusal: str  # title of the sentence where there is none
    answer: Callable[[Settings], str]

    def attach(self, parts: Mapping[str, Any], controls: Mapping[str, gr.components.Component]) -> None:
        """Answer for what the controls are set to when the button among `parts` is clicked.

        One at a time, in the queue: others' pages stay quick meanwhile.
        """
        outputs = {name: parts[name] for name in (self.result, self.button)}
        waiting = connect(parts[self.button].click, self.wait, [], outputs, **QUIET)
        connect(waiting.then, self.show, controls, outputs, concurrency_limit=1, **UNSEEN)

    def wait(self) -> dict[str, Any]:
        """What stands on the page until the result is there."""
        return {self.result: status_line(self.waiting), self.button: gr.Button(interactive=False)}

    def show(self, **values: Any) -> dict[str, Any]:
        """The result for what the controls are set to, whatever that is; a sentence where there is none."""
        try:
            shown = self.answer(read_settings(values))
        except ValueError as error:
            shown = notice(self.refusal, str(error))
        return {self.result: shown, self.button: gr.Button(interactive=True)}
