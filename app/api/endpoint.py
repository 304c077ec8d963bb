"""A typed function as an endpoint: its values are checked by its own annotations, and a refusal is one sentence.

`pydantic` checks the values and writes their schema, ranges included, which gradio shows to people, clients and agents.
"""

from __future__ import annotations

import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_type_hints

import gradio as gr
from gradio.context import get_blocks_context
from pydantic import TypeAdapter, ValidationError

from redistill.common.values import cut, shown

from ..parts.failures import FAILED
from ..words.places import hide_places

KINDS = {  # of values, by the name of pydantic's error that misses them
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "finite_number": "a finite number", "bool_type": "true or false", "string_type": "a text",
    "list_type": "a list", "dict_type": "names with values", "none_required": "nothing",
}  # fmt: skip
BOUNDS = {
    "greater_than_equal": "at least {ge:,}", "greater_than": "more than {gt:,}", "less_than_equal": "at most {le:,}",
    "less_than": "less than {lt:,}", "too_long": "at most {max_length:,} entries",
    "too_short": "at least {min_length:,} entries", "string_too_long": "at most {max_length:,} characters",
    "string_too_short": "at least {min_length:,} characters",
}  # fmt: skip
FILLED_IN = (gr.Request, gr.Request | None)  # by gradio: no values of the caller's
FILE = "base64"  # the key of a file's content, in which no place is looked for


def add_endpoint(function: Callable[..., Any], **settings: Any) -> None:
    """Offer a function by its own name, inside a Blocks context; `settings` are those of gradio's events.

    All its parameters have types that JSON knows, and it returns a dict. What it needs to be called is its docstring.
    """
    events, name = get_blocks_context().fns, function.__name__
    for other in events.values():
        if other.api_name == name and other.api_visibility == "private":
            other.api_name = f"{name}_on_page"  # gradio calls it after its handler
    call, schemas = checked(function), {key: kind.json_schema() for key, kind in _kinds(function).items()}
    lines = [f"{key}: {_described(schema)}" for key, schema in schemas.items()]
    call.__doc__ = "\n".join([inspect.getdoc(function), "Args:", *lines])  # where gradio looks for them
    event = events[gr.api(call, api_name=name, **settings)["id"]]
    for component, (key, schema) in zip(event.inputs, schemas.items(), strict=True):
        component.label, component._api_info = key, schema
    event.outputs[0].label, event.outputs[0]._api_info = "answer", {"type": "object", "additionalProperties": {}}


def _described(schema: dict[str, Any]) -> str:
    """What a schema says of its values, its own alternatives included."""
    parts = [part["description"] for part in (schema, *schema.get("anyOf", ())) if "description" in part]
    return "; or ".join(dict.fromkeys(parts))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with each argument checked by its annotation; whatever it refuses is a `gr.Error` of one sentence.

    Neither that nor its answer names a place of this machine. What is no refusal stands in the log.
    """
    kinds, signature = _kinds(function), inspect.signature(function)

    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        try:
            given = signature.bind(*values, **named).arguments
            read = {name: _read(name, given[name], kind) for name, kind in kinds.items() if name in given}
            return _without_places(function(**{**given, **read}))
        except gr.Error:
            raise
        except (ValueError, OSError) as error:
            raise gr.Error(hide_places(str(error)) or FAILED, print_exception=False) from error
        except Exception as error:
            traceback.print_exc()
            raise gr.Error(FAILED, print_exception=False) from error

    return call


@functools.cache
def _kinds(function: Callable[..., Any]) -> dict[str, TypeAdapter]:
    """What each parameter of the caller's may be, by its name."""
    hints = get_type_hints(function, include_extras=True)
    own = (name for name in inspect.signature(function).parameters if hints[name] not in FILLED_IN)
    return {name: TypeAdapter(hints[name]) for name in own}


def _read(name: str, value: Any, kind: TypeAdapter) -> Any:
    """The value as its annotation has it; ValueError, with what was expected, for any other."""
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError as error:
        found = _nearest(error.errors(include_url=False), value)
        place = ".".join(cut(str(part)) for part in (name, *_steps(found[0]["loc"], value)))
        expected = " or ".join(dict.fromkeys(map(_expected, found)))
        raise ValueError(f"{place} is {shown(found[0]['input'])}; expected {expected}.") from None


def _nearest(errors: Sequence[Mapping[str, Any]], value: Any) -> list[Mapping[str, Any]]:
    """What was found at fault, of all alternatives of a type: where one is of the value's own kind, that one alone.

    Else those of every alternative, for all that would have done.
    """
    depths = [len(list(_steps(one["loc"], value))) for one in errors]
    own = [one for one, depth in zip(errors, depths, strict=True) if one["type"] not in KINDS or depth > min(depths)]
    return own[:1] or list(errors)


def _expected(error: Mapping[str, Any]) -> str:
    """What would have been right, in plain words where pydantic's are a programmer's."""
    if error["type"] in KINDS:
        return KINDS[error["type"]]
    if error["type"] in BOUNDS:
        return BOUNDS[error["type"]].format(**error.get("ctx", {}))
    return re.sub("^[A-Z][a-z]+ should (be|have) ", "", error["msg"])


def _steps(where: Sequence[str | int], value: Any) -> Iterator[str | int]:
    """The way to what is at fault inside a value; pydantic also names the type that it tried there."""
    for step in where:
        inside = value if isinstance(value, (dict, list)) else ()
        if step in inside or (isinstance(inside, list) and isinstance(step, int)):
            yield step
            value = value[step]


def _without_places(answer: Any) -> Any:
    """The answer with every text of it as `hide_places` has it, and tuples as lists."""
    if isinstance(answer, str):
        return hide_places(answer)
    if isinstance(answer, dict):
        return {key: value if key == FILE else _without_places(value) for key, value in answer.items()}
    return [*map(_without_places, answer)] if isinstance(answer, (list, tuple)) else answer
