"""What the page as a whole sends and asks."""

from __future__ import annotations

import functools

import gradio as gr


def test_a_page_that_is_opened_does_not_copy_the_server(page):
    """gradio copies each component's settings for every page, and an event among them copies all it belongs to."""
    components = page.get_config_file()["components"]
    events = [
        (component["props"].get("elem_id"), name)
        for component in components
        for name, value in component["props"].items()
        if isinstance(value, functools.partial)
    ]
    assert len(components) > 50 and events == []


def test_no_number_is_refused_or_rounded_before_its_handler(page):
    """gradio would raise an error that the page does not show, and nothing would happen there."""
    numbers = [block for block in page.blocks.values() if isinstance(block, (gr.Number, gr.Slider))]
    assert len(numbers) > 20
    for block in numbers:
        assert block.get_block_name() in ("number", "slider"), "what the browser draws"
        is_slider = isinstance(block, gr.Slider)
        for value in (-1e9, 1e9, 1.7, None, "x"):
            ends = {-1e9: block.minimum, 1e9: block.maximum, 1.7: max(1.7, block.minimum or 0), None: block.minimum}
            assert block.preprocess(value) == (ends.get(value, value) if is_slider else value), block.label


def test_a_click_on_a_stride_asks_the_server_once_and_carries_no_long_list(page):
    config = page.get_config_file()
    picker = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "strides")
    calls = [
        event["targets"]
        for event in config["dependencies"]
        if event["backend_fn"] and any(target == picker for target, _ in event["targets"])
    ]
    assert len(calls) == 1
    # Gradio's page copies all properties of a component at every event: with 1,400 choices a click took twice as long
    lists = {part["props"].get("label"): len(part["props"].get("choices") or ()) for part in config["components"]}
    assert max(lists.values()) < 60, lists


def test_no_event_waits_for_the_change_of_a_state_that_gradio_never_tells(page):
    """gradio tells the page of a State's change at the end of queued events alone."""
    config = page.get_config_file()
    states = {part["id"] for part in config["components"] if part["type"] == "state"}
    waited = {target for event in config["dependencies"] for target, name in event["targets"] if name == "change"}
    unqueued = [event for event in config["dependencies"] if event["queue"] is False]
    assert not [event["api_name"] for event in unqueued if waited & states & set(event["outputs"])]
