"""Agents call the same endpoints: a server of MCP is started and asked by its own client."""

from __future__ import annotations

import json

import pytest
from helpers.agents import ask_tools

from app.api.page import ENDPOINTS


def test_an_agent_finds_strides_that_fit_and_what_they_cost(studio):
    wish = {"network": "resnet50", "dtype": "int8"}
    offered, (searched,) = ask_tools(studio, ("search", {**wish, "budget_bytes": 2**20}))
    assert set(offered) == {function.__name__ for function in ENDPOINTS}
    best = json.loads(searched.content[0].text)["best"]
    _, (counted,) = ask_tools(studio, ("profile", {**wish, "strides": best["strides"]}))
    student = json.loads(counted.content[0].text)["student"]
    assert student["peak_bytes"] == best["peak_bytes"] <= 2**20 and 0 < best["macs_kept"] < 1


def test_a_tool_says_what_each_value_may_be(studio):
    offered, _ = ask_tools(studio)
    values = offered["search"].inputSchema["properties"]
    assert values["batch"]["maximum"] == 1024 and "int8" in values["dtype"]["enum"]
    assert "bytes" in values["budget_bytes"]["description"] and offered["search"].inputSchema["required"] == ["network"]


def test_pictures_come_as_pictures(studio):
    _, (drawn,) = ask_tools(studio, ("generate", {"checkpoints": ["small"], "count": 1, "steps": 1}))
    text, picture = drawn.content
    assert picture.type == "image" and picture.mimeType == "image/png"
    assert "base64" not in json.loads(text.text)["files"][0]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("profile", {"network": "resnet18", "batch": 10**9}, "1024"),
        ("profile", {"network": "resnet99"}, "resnet99"),
        ("search", {"network": "resnet99"}, "resnet99"),
        ("nothing", {}, "nothing"),
    ],
)
def test_a_refusal_reaches_the_agent(studio, name, values, expected):
    _, (refused,) = ask_tools(studio, (name, values))
    assert refused.isError and expected in refused.content[0].text
