"""Whatever reaches a handler of the page from outside, it answers with what its outputs take, or refuses in a sentence.

The handlers are found on the page itself, so that a new one is tested from the day it is connected.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import BlockFunction
from gradio.helpers import special_args
from helpers.made import write_run
from huggingface_hub import constants

from app.distill import data_panel, estimate_panel
from app.explore import measure_panel, patch_panel
from app.generate import drawing
from app.runs import jobs, run_list
from redistill.training.presets import FACES_TEACHER, PRESETS

HOSTILE = [None, "", "<script>", -1, 0.5, 10**30, True, math.nan, ["a"] * 50, {"a": {"b": []}}]
# What handlers read of an event.
EVENTS = ("act", "key", "layer", "letter", "mark", "network", "query", "save", "seed", "turn")
# What offers, follows, redraws or waits keeps to what there is, and says nothing of what there is not.
SILENT = {
    "explore": {"take_budget", "wait", "Asked.wait", "follow", "offer", "measure_shown"},
    "distill": {
        "keep_run",
        "cancel",
        "published_weight",
        "offer_data",
        "recheck",
        "show_teacher_steps",
        "can_remove",
        "choose",
        "show_facts",
        "offer",
        "list_hardware",
    },
    "compare": {"refresh", "look", "show_group", "show_by", "show_all", "keep_chosen"},
    "generate": {"stop_sampling", "offer", "follow", "forget_refusal"},
    "ui": {"build.<locals>.<lambda>"},
}


def handlers(page: gr.Blocks, tab: str) -> list[BlockFunction]:
    """What events of a tab run, each function once for each list of components that it is given."""
    found = {}
    for block in page.fns.values():
        module = (getattr(block.fn, "__module__", None) or "").split(".")
        if module[0] == "app" and tab in module:
            given = tuple(type(component) for component in block.inputs)
            found.setdefault((block.fn.__qualname__, given), block)
    return list(found.values())


def call(block: BlockFunction, values: list[Any], event: Any) -> bool:
    """Call a handler as gradio does, and tell whether it said that something is wrong.

    What it answers with must fill its outputs, and no text in it is markup.
    """
    request = gr.Request(session_hash="visitor", query_params={"teacher": "<script>"})
    arguments = [dict(zip(block.inputs, values, strict=True))] if block.inputs_as_dict else list(values)
    arguments, *_ = special_args(block.fn, arguments, request, gr.EventData(None, event))
    said = ""
    try:
        answer = block.fn(*arguments)
        for update in answer if inspect.isgenerator(answer) else [answer]:
            said += "".join(
                str(value) for component, value in filled(block, update).items() if isinstance(component, gr.HTML)
            )
    except gr.Error:
        return True
    assert "<script" not in said
    return "notice" in said or "field-refusal" in said


def filled(block: BlockFunction, update: Any) -> dict[Any, Any]:
    """What an answer fills each output with, in any of the forms that gradio takes."""
    if update == gr.skip():
        return {}
    if isinstance(update, dict) and all(isinstance(key, gr.blocks.Block) for key in update):
        assert set(update) <= set(block.outputs)
        return update
    values = [update] if len(block.outputs) == 1 else update
    return dict(zip(block.outputs, values, strict=True))


@pytest.fixture
def right(shipped, monkeypatch):
    """The values that a handler would get from a page where a person has chosen, drawn and run something.

    No process trains from here on.
    """
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    write_run(shipped, "one", PRESETS["undistilled"].config, "finished")
    drawn = list(drawing.generate(FACES_TEACHER, ["small"], 3, 4, 2, "ddim"))[-1]["kept"]
    monkeypatch.setattr(estimate_panel.subprocess, "Popen", refuse)
    monkeypatch.setattr(measure_panel, "measure", refuse)
    monkeypatch.setattr(patch_panel, "_counted", once_a_question(patch_panel._counted))
    monkeypatch.setattr(data_panel, "build_student", lambda student: None)
    monkeypatch.setattr(jobs, "start", lambda settings, title, after=None: jobs.Run("one", shipped, title, "queued"))
    chosen = {"generate": [FACES_TEACHER, ["small"], 3, 4, 2, "ddim", ""], "follow": [FACES_TEACHER, ["small"]]}
    chosen |= {"announce": [FACES_TEACHER, ["small"], 3, 4, None], "offer": [FACES_TEACHER, ["small"]]}

    def values(block: BlockFunction) -> list[Any]:
        if block.fn.__module__.startswith("app.generate."):
            return chosen.get(block.fn.__name__, [drawn] * len(block.inputs))
        return [{"name": "one"} if isinstance(part, gr.JSON) else part.value for part in block.inputs]

    return values


def once_a_question(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes a second, and is asked the same again by most of what stands beside a hostile value."""
    known: dict[str, Any] = {}

    def answer(*arguments: Any) -> Any:
        asked = repr(arguments)
        if asked not in known:
            known[asked] = function(*arguments)
        return known[asked]

    return answer


def refuse(*arguments: Any, **settings: Any) -> None:
    raise ValueError("This would take long.")


@pytest.mark.parametrize("tab", SILENT)
def test_no_value_from_outside_breaks_a_handler(page, right, tab, subtests):
    for block in handlers(page, tab):
        values = right(block)
        with subtests.test(handler=f"{block.fn.__module__}.{block.fn.__qualname__}"):
            said = []
            for value in HOSTILE:
                for position in range(len(values)):
                    said.append(call(block, [*values[:position], value, *values[position + 1 :]], {}))
                if (
                    special_args(block.fn, list(values), None, gr.EventData(None, {}))[2] is not None
                ):  # it takes an event
                    said += [call(block, values, event) for event in (value, dict.fromkeys(EVENTS, value))]
            assert any(said) or block.fn.__qualname__ in SILENT[tab]
    assert [run.name for run in run_list.list_runs()] == ["one"]


def test_every_tab_has_handlers(page):
    assert all(handlers(page, tab) for tab in SILENT)
