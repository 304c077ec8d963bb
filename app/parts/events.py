"""Handlers that take and return values by name, not by position, and the components that have these names."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from .fragments import notice, status_line

Handler = Callable[..., Mapping[str, Any]]
# Of events that a person does not wait for.
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# Of events that take their time, and show themselves how far they are.
UNSEEN = {"show_progress": "hidden", "api_visibility": "private"}


def connect(
    event: Callable[..., Any],
    handler: Handler,
    inputs: Mapping[str, gr.components.Component] | Sequence[gr.components.Component],
    outputs: Mapping[str, gr.blocks.Block],
    **settings: Any,
) -> Any:
    """Let `event` of a component, such as `button.click`, call `handler`; returns what gradio returns.

    Inputs with names reach it as keyword arguments, after an event or a request where it takes one. It returns or
    yields values for some of `outputs` by their names; the others stay as they are.
    """
    names = list(inputs) if isinstance(inputs, Mapping) else []

    def found(*values: Any) -> Any:
        first = len(values) - len(names) if names else len(values)
        return handler(*values[:first], **dict(zip(names, values[first:], strict=True)))

    def shown(values: Mapping[str, Any]) -> Any:
        return {outputs[name]: value for name, value in values.items()} or gr.skip()

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def call(*values: Any) -> Any:
            yield from map(shown, found(*values))
    else:

        @functools.wraps(handler)
        def call(*values: Any) -> Any:
            return shown(found(*values))

    if names:  # gradio counts the arguments that a function takes, and looks among them for events and requests
        parameters = inspect.signature(handler).parameters.values()
        own = [part for part in parameters if part.kind is part.POSITIONAL_OR_KEYWORD and part.name not in names]
        call.__signature__ = inspect.Signature([*own, inspect.Parameter("values", inspect.Parameter.VAR_POSITIONAL)])
        inputs = inputs.values()
    return event(call, list(inputs), list(outputs.values()), **settings)


def say_at_once(event: Callable[..., Any], words: str, output: gr.HTML) -> Any:
    """Let the page itself say in `output` that what `event` asks for goes on, before the server answers."""
    return event(None, None, output, js=f"() => {json.dumps(status_line(words), ensure_ascii=False)}", **QUIET)


def refused_in(output: str, title: str = "") -> Callable[[Handler], Handler]:
    """Let a handler for `connect` answer what does not fit, or what the disk refuses, with a notice in `output`."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def answer(*values: Any, **named: Any) -> Mapping[str, Any]:
            try:
                return handler(*values, **named)
            except (ValueError, OSError) as error:
                return {output: notice(title, str(error))}

        return answer

    return decorate
