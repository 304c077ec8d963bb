"""The page as a Space serves it, asked over HTTP: who sent a request decides what it is told, whatever it calls."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from helpers.agents import ask_tools
from helpers.hub_server import local_hub
from helpers.made import small
from helpers.visitors import SPACE, asked_by

from app import ui
from app.runs import jobs, run_list
from app.visitors import access, who
from redistill.checkpoint import sources
from redistill.training.presets import CLUTTER_TEACHER

A = "a" * 32


def with_sessions(keep_visitors):
    """The application with the session that gradio keeps of a sign-in, here told by a header: what reads its own
    cookie comes with Spaces alone."""

    def wrap(app):
        inner = keep_visitors(app)

        async def answer(scope, receive, send):
            token = dict(scope.get("headers", ())).get(b"x-signed-in-with", b"").decode()
            info = {"userinfo": {"sub": "42"}, "access_token": token, "expires_at": time.time() + 60}
            await inner(scope | {"session": {"oauth_info": info}} if token else scope, receive, send)

        return answer

    return wrap


@pytest.fixture(scope="module")
def space(tmp_path_factory, untrained):
    """Address of a page on a Space, and the name of a run of A there."""
    home = tmp_path_factory.mktemp("space")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "RUNS"):
            patch.setenv(f"REDISTILL_{name}", str(home / name.lower()))
        patch.setenv("GRADIO_TEMP_DIR", str(home / "gradio"))
        patch.setattr(sources, "SHIPPED", untrained)
        patch.setattr(access, "_askers", [])
        with asked_by(f"browser:{A}"):
            config = small().to_dict()
            run = jobs.add_finished(config, "secret title", lambda to: shutil.copytree(untrained / CLUTTER_TEACHER, to))
        patch.setattr(who, "keep_visitors", with_sessions(who.keep_visitors))
        patch.setenv("SPACE_ID", SPACE["SPACE_ID"])  # without SYSTEM, by which gradio begins to watch files for changes
        (run.path / "log.txt").write_text(f"secret title {home}/log /usr/lib/python3/x.py")
        page = ui.build()
        ui.launch(page, port=None, prevent_thread_lock=True, quiet=True)
        yield page.local_url.rstrip("/"), run.name
        page.close(verbose=False)


def ask(address: str, data: list | None = None, cookie: str = "", page: str = "p", **more) -> tuple[int, str]:
    """Status and text of an answer."""
    headers = {"content-type": "application/json", "cookie": cookie}
    body = None if data is None else json.dumps({"data": data, "session_hash": page, **more}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=8) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def cookie(number: str | None = None) -> str:
    return f"{who.COOKIE}={access.signed(number)}"


def test_a_network_is_pushed_with_the_token_of_the_sign_in_alone(space, tmp_path):
    """The right token is in HF_TOKEN too, as a Space's own is."""
    address, run = space
    with local_hub(tmp_path / "hub") as hub:
        stranger = Client(address, verbose=False, headers={"cookie": cookie(A)})
        with pytest.raises(AppError, match="sign in with Hugging Face"):
            stranger.predict(run, "someone/small", api_name="/push")
        assert hub.repositories == {} and hub.token not in {token for *_, token in hub.asked}
        person = Client(address, verbose=False, headers={"cookie": cookie(A), "x-signed-in-with": hub.token})
        answer = person.predict(run, "someone/small", True, api_name="/push")
        assert answer == {"address": f"{hub.address}/someone/small"} and hub.private == {"someone/small"}
        with pytest.raises(AppError, match="does not give"):
            stranger.predict("hub:someone/small", api_name="/load")
        assert person.predict("hub:someone/small", api_name="/load")["checkpoint"] == "imported:someone-small"
        with pytest.raises(AppError, match="No checkpoint"):
            stranger.predict(["imported:someone-small"], api_name="/generate")


def calls(run: str) -> dict[str, list]:
    """Calls of private events and of endpoints that take a run."""
    drawn = {"name": run}
    private = {"stop_run": [drawn], "resume_run": [drawn], "ask_to_delete": [drawn], "delete_run": [run, run]}
    private |= {"look": [run, None], "extend_run": [drawn, 99, None, None], "save_file": [drawn]}
    return private | {name: [run] for name in ("status", "metrics", "stop", "delete")} | {"export": [run, "onnx"]}


@pytest.mark.parametrize("name", calls(""))
def test_a_direct_call_tells_another_visitor_nothing_and_changes_nothing(space, name):
    address, run = space
    for asking in (cookie(), f"{who.COOKIE}={A}.{'0' * 64}", ""):
        event = {"event_data": {"save": "log.txt"}} if name == "save_file" else {}
        status, said = ask(f"{address}/gradio_api/run/{name}", calls(run)[name], asking, **event)
        assert status in (200, 400), said
        assert "secret title" not in said and "log /usr" not in said
        status, said = ask(f"{address}/gradio_api/call/{name}", calls(run)[name], asking, **event)
        assert "secret title" not in said
    assert run_list.read_folder(run_list.runs_dir() / run).state == "finished"


def test_who_made_a_run_is_told_of_it_without_a_path_of_the_server(space):
    address, run = space
    mine = cookie(A)
    status, said = ask(f"{address}/gradio_api/run/status", [run], mine)
    assert status == 200 and "secret title" in said
    event = {"event_data": {"save": "log.txt"}}
    status, said = ask(f"{address}/gradio_api/run/save_file", [{"name": run}], mine, **event)
    assert "secret title log x.py" in said and run_list.runs_dir().parent.name not in said


SECRET = "the secret of one agent"
AGENTS = {"one": f"Bearer {SECRET}", "another": "Bearer the secret of another", "short": "Bearer secret"}


def test_agents_are_told_apart_in_line_and_at_once(space, untrained):
    address, of_a = space
    with asked_by(f"secret:{SECRET}"):
        run = jobs.add_finished(
            small().to_dict(), "an agent’s", lambda to: shutil.copytree(untrained / CLUTTER_TEACHER, to)
        ).name
    asked = [
        ("status", {}),
        ("push", {"run": run, "repo": "none", "token": "x"}),
        ("start", {"settings": {"steps": 0}}),
    ]
    for who_asks in (*AGENTS, None):
        headers = {"authorization": AGENTS[who_asks]} if who_asks else {}
        _, (status, pushed, started) = ask_tools(address, *asked, headers=headers)
        own = [row["run"] for row in json.loads(status.content[0].text)["runs"]]
        assert of_a not in own and own == [run] * (who_asks == "one")
        assert ("No run" in pushed.content[0].text) == (who_asks != "one"), pushed
        assert started.isError
    _, (started,) = ask_tools(address, ("start", {"preset": "quick"}))
    assert started.isError and "Nobody can tell whose" in started.content[0].text


def test_agents_in_line_have_no_page_in_common(space, untrained):
    """gradio asks for all of them as one page: nothing may be filed under it, nor found there."""
    address, _ = space
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_askers", [lambda: names.append(who.names_of_request()) or names[-1]])
        for headers in ({}, {"authorization": AGENTS["one"]}, {"cookie": cookie(A)}, {}):
            ask_tools(address, ("generate", {}), headers=headers)
    told = {tuple(found) for found in names}
    assert told == {(), (f"secret:{SECRET}",), (f"browser:{A}",)}


def test_nothing_of_the_server_is_served(space):
    address, run = space
    places = ["README.md", "app/ui.py", ".git/config", "/etc/passwd", "/proc/self/environ", "checkpoints/study.json"]
    places += [str(run_list.runs_dir() / run / "config.json"), str(run_list.cache_dir() / ".visitors.key")]
    places += ["../../etc/passwd", f"{run_list.runs_dir()}/../cache/.visitors.key", "http://127.0.0.1:1/x"]
    for place in places:
        status, _ = ask(f"{address}/gradio_api/file={place}", cookie=cookie(A))
        assert status in (403, 404), place
    status, config = ask(f"{address}/config")
    assert status == 200 and str(run_list.cache_dir()) not in config
