"""Whatever is sent to the server, to endpoints and to the page's own events: it is refused in a sentence or answered,
no failure is told as `null`, no place of this machine is named, and the page answers afterwards."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import ui
from app.distill import data_panel, estimate_panel
from app.explore import measure_panel
from app.runs import jobs, shell

ROOT = str(Path(__file__).resolve().parents[3])
PLACES = (ROOT, sys.prefix, str(Path.home()) + "/", "Traceback", "site-packages")
TRICKS = [
    "../../../etc/passwd", "/etc/passwd", "..", "file:/etc/passwd", "file:///etc/passwd", "folder:/etc",
    "upload:../../x", "run:../one", "imported:../../..", "ddpm:/etc", "ddpm:../checkpoints", "hub:../..",
    "\x00", "a\x00b", "\ud800",
    "💥" * 50, "<script>alert(1)</script>", "%2e%2e%2f", "~/.ssh/id_rsa", "C:\\Windows", "{}", "'; --", "‮",
    "one", "resnet18",
    "hf-hub:timm/../x", "timm:" + "a" * 500, "x" * 100_000,
]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 8, 0.5, -0.0, 10**9, 2**63, 10**400, -(10**30), math.nan, math.inf, 1e308, 5e-324]
SCALARS = st.sampled_from([None, True, False, *NUMBERS, *TRICKS]) | st.text(max_size=20) | st.integers()
KEYS = st.sampled_from(["name", "path", "url", "conv1", "student", "key", "mark", "save", "meta", "_type", "orig_name"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FILE = st.fixed_dictionaries({"path": st.sampled_from(TRICKS), "meta": st.just({"_type": "gradio.FileData"})})
OWN_REFUSAL = "is not in the list of choices"  # gradio's, of a choice


@pytest.fixture
def idle(monkeypatch):
    """Nothing trains, measures, exports or asks the Hub from here on."""

    def refuse(*values: Any, **named: Any) -> None:
        raise ValueError("This would take long.")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for place, name in (
        (estimate_panel, "measure"), (measure_panel, "measure"), (jobs, "start"), (jobs, "launch"),
        (shell.subprocess, "run"), (data_panel, "build_student"), (jobs, "delete"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, refuse)


@pytest.fixture(scope="package")
def events():
    """Every event of the page and every endpoint: its name, and what it is given when all is as it opens."""
    found = []
    for event in ui.build().fns.values():
        if event.fn and event.api_name:
            found.append((event.api_name, [getattr(block, "value", None) for block in event.inputs]))
    return found


def check(answer: httpx.Response) -> None:
    """What holds for every answer of an event."""
    text = answer.text
    assert answer.status_code < 500 or OWN_REFUSAL in text, (answer.status_code, text[:300])
    assert '"error":null' not in text.replace(" ", ""), text[:300]
    assert not [place for place in PLACES if place in text], text[:300]


def send(address: str, name: str, body: Any) -> None:
    """Call an event as plain HTTP does, and through the queue."""
    content = json.dumps(body)
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=f"{address}/gradio_api", headers=headers, timeout=60) as http:
        check(http.post(f"/run/{name}", content=content))
        asked = http.post(f"/call/{name}", content=content)
        check(asked)
        if asked.status_code == 200:
            check(http.get(f"/call/{name}/{asked.json()['event_id']}"))


@st.composite
def requests(draw: st.DrawFn) -> tuple[int, list[tuple[int, Any]], list[Any] | None, Any]:
    """An event by its place, what takes the place of which of its values, other values in their stead, event data."""
    changes = draw(st.lists(st.tuples(st.integers(0, 40), VALUES | FILE), min_size=1, max_size=3))
    others = draw(st.none() | st.lists(VALUES, max_size=12))
    return draw(st.integers(0, 1000)), changes, others, draw(st.none() | VALUES)


@settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(request=requests())
def test_no_value_breaks_an_event(studio, idle, events, request):
    event, changes, others, said = request
    name, values = events[event % len(events)]
    sent = [value if _is_json(value) else None for value in values]
    for place, value in changes if sent else ():
        sent[place % len(sent)] = value
    send(studio, name, {"data": sent if others is None else others, "session_hash": "fuzz", "event_data": said})


def _is_json(value: Any) -> bool:
    try:
        return json.dumps(value) is not None
    except (TypeError, ValueError):
        return False


BODIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"",
    "a number": b"3",
    "no list": b'{"data": {"a": 1}}',
    "number beyond reading": b'{"data": [' + b"9" * 5000 + b"]}",
    "not a number": b'{"data": [NaN, Infinity]}',
    "half a letter": b'{"data": ["\\ud800"]}',
    "no UTF-8": b'{"data": ["\xff"]}',
    "nested": b'{"data": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "megabytes": b'{"data": ["' + b"a" * 3_000_000 + b'"]}',
    "too many megabytes": b'{"data": ["' + b"a" * 9_000_000 + b'"]}',
    "another event": b'{"data": [], "fn_index": 99999}',
    "no number of an event": b'{"data": [], "fn_index": -1}',
}


@pytest.mark.parametrize("name", ["profile", "nothing", "..%2f..%2fetc%2fpasswd"])
@pytest.mark.parametrize("kind", BODIES)
def test_no_body_breaks_an_endpoint(studio, idle, kind, name):
    headers = {"content-type": "application/json"}
    for route in ("run", "call", "call/v2", "api"):
        check(httpx.post(f"{studio}/gradio_api/{route}/{name}", content=BODIES[kind], headers=headers, timeout=60))


OTHERS = ("queue/join", "cancel", "reset", "component_server", "upload", "stream/x", "stream/x/close")


@pytest.mark.parametrize("route", OTHERS)
@pytest.mark.parametrize("kind", BODIES)
def test_no_body_breaks_another_route(studio, kind, route):
    headers = {"content-type": "application/json"}
    check(httpx.post(f"{studio}/gradio_api/{route}", content=BODIES[kind], headers=headers, timeout=60))


def test_no_path_leads_to_a_file_of_this_machine(studio):
    here = Path(__file__)
    for place in (*TRICKS[:10], str(here), f"{ROOT}/README.md", f"{ROOT}/app/ui.py", "/proc/self/environ", "/dev/zero"):
        for route in ("file=", "file/", "proxy=", "custom_component/x/client/component/"):
            answer = httpx.get(f"{studio}/gradio_api/{route}{quote(place, safe='')}")
            assert answer.status_code in (307, 400, 403, 404, 422), (route, place, answer.status_code)
            assert "root:" not in answer.text and "Traceback" not in answer.text
    for path in ("/static/../../../etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd", "/svelte/..%2f..%2fetc%2fpasswd"):
        assert httpx.get(studio + path).status_code in (403, 404)


def test_the_page_answers_afterwards(studio, client):
    assert httpx.get(studio).status_code == 200
    assert client.predict("resnet18", api_name="/profile")["teacher"]["peak_bytes"] == 4_014_080
