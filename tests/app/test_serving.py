"""How the page is served: what a session keeps of it, whom it answers, and what is said where it cannot be served."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
from gradio.blocks import Block
from gradio.state_holder import SessionState

from app import ui
from app.parts.fragments import notice
from app.parts.guard import Guard, hosts_of
from app.parts.sessions import keep_one_component
from app.parts.stride_picker import StridePicker

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page():
    keep_one_component()
    return ui.build()


def sent(block: gr.components.Component, session: SessionState):
    """What the page sends for a component: what it shows."""
    return session.config_values[block._id]["props"].get("value")


def answer(function) -> list:
    """An update of every output, as a handler that changes all of them gives it."""
    return [
        block.value if isinstance(block, gr.State) else block.__class__(**{**block.constructor_args, "render": False})
        for block in function.outputs
    ]


def events(page: gr.Blocks) -> list:
    """The functions of all events that change something."""
    found = [f for f in page.fns.values() if f.fn and f.outputs and not f.is_cancel_function]
    found = [f for f in found if not any(type(block).__name__ == "Api" for block in f.outputs)]
    assert len(found) > 40
    return found


def kept(session: SessionState) -> tuple[int, int]:
    """Components and settings of them that a session holds."""
    return len(session.blocks_config.blocks), len(session.config_values)


def call_often(function, session: SessionState, times: int) -> None:
    """What gradio 6.31 does to a session when an event is answered so many times with updates of all its outputs, and
    their values come back as inputs: `Blocks.postprocess_data` and `preprocess_data` without the values themselves."""
    outputs = [block for block in function.outputs if not block.stateful]
    inputs = [block._id for block in function.inputs if not block.stateful]
    number = 10**9  # an update is a component with a number of its own
    for _ in range(times):
        for block in outputs:
            number += 1
            updated = copy.copy(block)
            updated._id = number
            session[block._id] = updated
        for key in inputs:
            held = session[key]
            if held._id not in session:
                session[held._id] = held
            session._update_value_in_config(held._id, None)


def test_two_thousand_calls_of_what_ticks_or_is_live_keep_no_component(page, monkeypatch):
    """At the level of the session, where they are kept; the test after this one goes all the way."""
    live = [f for f in events(page) if f.trigger_mode == "always_last" or any(name == "tick" for _, name in f.targets)]
    assert len(live) > 30 and sum(any(name == "tick" for _, name in f.targets) for f in live) == 2
    distinct = {(tuple(f.inputs), tuple(f.outputs)): f for f in live}  # others are the same to a session
    session = SessionState(page)
    monkeypatch.setattr(session.blocks_config, "config_for_block", lambda *given: {"props": {}}, raising=False)
    before = kept(session)
    for function in distinct.values():
        call_often(function, session, 2000)
    assert kept(session) == before
    monkeypatch.setattr(SessionState, "__setitem__", SessionState.__setitem__.__wrapped__)  # gradio's own
    for function in distinct.values():
        call_often(function, session, 20)
    assert kept(session)[0] > before[0] + 20 * len(distinct), "so this would have been seen"


def test_no_event_however_often_keeps_a_component(page, places):
    """Of each event that ticks, loads or answers a person, outputs that are inputs too among them."""
    session, functions = SessionState(page), events(page)

    async def call(function, times: int) -> None:
        shown = answer(function)
        for _ in range(times):
            values = [None if block.stateful else sent(block, session) for block in function.inputs]
            await page.preprocess_data(function, values, session)
            await page.postprocess_data(function, shown[0] if len(shown) == 1 else list(shown), session)

    def held() -> tuple[int, int, int]:
        gc.collect()
        return *kept(session), sum(isinstance(thing, Block) for thing in gc.get_objects())

    async def all_of_them(times: int) -> None:
        for function in functions:
            await call(function, times)

    finish(all_of_them(1))
    before = held()
    finish(all_of_them(1))
    ticking = [function for function in functions if any(name == "tick" for _, name in function.targets)]
    assert len(ticking) == 2
    live = max(functions, key=lambda function: len(function.inputs) * (StridePicker in map(type, function.inputs)))
    for function in (*ticking, live):
        finish(call(function, 20))
    assert held() == before


def test_the_clocks_stand_still_until_their_tab_is_seen(page):
    clocks = [block for block in page.blocks.values() if isinstance(block, gr.Timer)]
    assert [clock.active for clock in clocks] == [False, False]
    selects = [
        function
        for function in page.fns.values()
        if function.outputs and all(isinstance(block, gr.Timer) for block in function.outputs)
    ]
    told = [[clock.active for clock in function.fn()] for function in selects]
    assert sorted(told) == [[False, False], [False, False], [False, True], [True, False]]


def test_any_value_reaches_the_handler_of_a_stride_picker():
    for value in (None, "x", 5, ["a"], {"conv1": "x"}, {str(number): 1 for number in range(500)}):
        assert StridePicker({}).preprocess(value) == value


def finish(coroutine):
    """Its result, by an event loop in a thread of its own: a browser's may run in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def ask(guard: Guard, path: str = "/config", host: str = "localhost:7860", body: bytes = b"", said: int | None = None):
    """Status and body of the answer to a request."""
    headers = [(b"host", host.encode())] + ([(b"content-length", str(said).encode())] if said is not None else [])
    parts = [body[start : start + 1000] for start in range(0, max(1, len(body)), 1000)]
    messages = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts] + [{"type": "end"}])
    got: list[dict] = []

    async def receive():
        return next(messages)

    async def send(message):
        got.append(message)

    finish(guard({"type": "http", "path": path, "headers": headers}, receive, send))
    return got[0]["status"], got[1]["body"].decode()


async def reads_all(scope, receive, send):
    """An application that takes what it is sent."""
    while (await receive())["type"] != "end":
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})


HOSTS = ["localhost", "localhost:7860", "LOCALHOST", "127.0.0.1:1", "[::1]:7860", "localhost."]
FOREIGN = [
    "evil.example",
    "localhost.evil.example:7860",
    "127.0.0.1.nip.io",
    "evil.example:127",
    "",
    "[fe80::1]",
    "0.0.0.0",
]


@pytest.mark.parametrize("host", HOSTS + FOREIGN)
def test_a_local_page_answers_to_no_other_name(host, monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    for address in ("127.0.0.1", "localhost"):
        status, said = ask(Guard(reads_all, hosts_of(address)), host=host)
        assert (status, said) == (200, "taken") if host in HOSTS else status == 403 and "localhost" in said
    assert ask(Guard(reads_all, hosts_of("0.0.0.0")), host=host)[0] == 200  # served to others by whatever name
    monkeypatch.setenv("REDISTILL_HOSTS", "evil.example, other")
    assert (ask(Guard(reads_all, hosts_of("127.0.0.1")), host="evil.example:80")[0]) == 200
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert hosts_of("127.0.0.1") is None


def test_a_request_that_is_too_large_is_refused_before_it_is_taken():
    guard = Guard(reads_all, None, most_body=10_000)
    assert ask(guard, body=b"a" * 10_000) == (200, "taken")
    for size, said in ((10_001, None), (10_001, 10_001), (0, 200_000_000), (0, 10**30), (50_000, 5)):
        assert ask(guard, body=b"a" * size, said=said)[0] == 413
    assert ask(guard, "/gradio_api/upload", body=b"a" * 50_000, said=50_000)[0] == 200  # gradio counts these
    assert ask(guard, "/gradio_api/queue/join", body=b"a" * 50_000)[0] == 413


def test_a_page_names_no_place_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    places = [tmp_path / "cache", tmp_path / "cache" / "uploads", tmp_path / "runs" / "a", ROOT / "app", Path.home()]
    for place in places:
        said = notice("", f"{place}/b.json is not readable; {place} is no folder.")
        assert "b.json" in said and str(place) not in said and str(tmp_path) not in said
    assert "a/b and /c" in notice("", "a/b and /c")


def test_the_thread_that_serves_keeps_what_all_others_trace_by(page, monkeypatch):
    asked = []
    monkeypatch.setattr(ui, "keep_device_guard", lambda: asked.append(threading.current_thread()))
    monkeypatch.setattr(page, "launch", lambda **settings: asked.append("launched"))
    ui.launch(page)
    assert asked == [threading.main_thread(), "launched"]


def test_a_machine_that_is_slow_to_answer_serves_all_the_same(monkeypatch):
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    with gr.Blocks() as page:
        gr.HTML()
    try:
        ui.launch(page, port=None, prevent_thread_lock=True, quiet=True)
        assert page.local_url
    finally:
        page.close(verbose=False)


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.process
def test_a_port_that_cannot_be_is_one_sentence(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ui.main(["--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert str(port) in said and "choose another by --port" in said and said.count("\n") == 1
    for bad in ("0", "65536", "abc", "-1", "9" * 5000, "²"):
        with pytest.raises(SystemExit):
            ui.main([f"--port={bad}"])
        assert "expected a whole number from 1 to 65535" in capsys.readouterr().err
    found = start("app.py", GRADIO_SERVER_PORT="abc")
    assert found.returncode == 2 and "port is 'abc'" in found.stderr and "Traceback" not in found.stderr


@pytest.mark.process
def test_a_user_whom_nobody_knows_is_told_what_to_set(tmp_path):
    """As in a container that runs under any number: no entry in the list of users, and no home."""
    code = (
        "import os, pwd, runpy, sys\n"
        "def unknown(*given): raise KeyError('uid not found')\n"
        "pwd.getpwuid = pwd.getpwnam = unknown\n"
        "for name in ('HOME', 'USER', 'LOGNAME', 'LNAME', 'USERNAME', 'REDISTILL_CACHE', 'XDG_CACHE_HOME'):\n"
        "    os.environ.pop(name, None)\n"
        "sys.argv = ['redistill', *sys.argv[1:]]\n"
        "runpy.run_module('redistill', run_name='__main__')\n"
    )
    run = start("-c", code, "train", "--preset", "quick", "--run-dir", str(tmp_path / "run"))
    assert run.returncode == 1 and "set REDISTILL_CACHE" in run.stderr and "Traceback" not in run.stderr
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
