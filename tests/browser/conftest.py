"""One studio and one browser for all tests here. No error there, and no request to anywhere else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.browser import PATIENCE, drawn
from helpers.confined import as_user_1000
from helpers.hub_server import hub_server
from helpers.lending import write_spaces
from helpers.made import FACES, TEACHER, UNTRAINED, save_untrained, write_run
from helpers.visitors import SPACE
from playwright.sync_api import Page, sync_playwright

from benchmarks.helpers.app_process import ROOT, served_from
from redistill.data.drawn import DRAWN
from redistill.training.presets import CLUTTER_TEACHER, FACES_TEACHER, PRESETS

ANY_STRIDES = replace(PRESETS["any-strides"].config, train_limit=96)  # one network for every budget
CHECKPOINTS = {
    CLUTTER_TEACHER: TEACHER,
    FACES_TEACHER: UNTRAINED[FACES_TEACHER],
    "emoji-faces-student": FACES,
    "emoji-clutter-any": ANY_STRIDES,
}
CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def shared_studio(tmp_path_factory, picture_cache):
    """Address and home of a studio of its own, with untrained checkpoints and an empty runs folder."""
    home = tmp_path_factory.mktemp("studio")
    with studio(home, picture_cache) as address:
        yield address, home


@pytest.fixture
def site(request, tmp_path, shared_studio, picture_cache):
    """Address of the studio that all tests share, where none goes on training after its test; a second try has one of
    its own, in which the first left nothing."""
    if getattr(request.node, "execution_count", 1) == 1:
        address, home = shared_studio
        yield address
        end_runs(home / "runs")
    else:
        cache = tmp_path / "cache"
        cache.mkdir()
        link_drawn(DRAWN, picture_cache, cache)
        with studio(tmp_path / "studio", cache) as address:
            yield address


def link_drawn(sets: Iterable[str], cache: Path, other: Path) -> None:
    """Let another cache have the pictures of sets, which would be drawn anew; what was uploaded stays where it is."""
    for name in sets:
        (cache / name).mkdir(parents=True, exist_ok=True)
        (other / name).symlink_to(cache / name)


@contextlib.contextmanager
def studio(home: Path, picture_cache: Path, before: Sequence[str] = (), **environment: str) -> Iterator[str]:
    """Address of a studio that is served from a folder, until the end of the block; see `served_from`."""
    save_untrained(home / "checkpoints", CHECKPOINTS)
    places = {
        "REDISTILL_CACHE": str(picture_cache),
        "REDISTILL_RUNS": str(home / "runs"),
        "REDISTILL_CHECKPOINTS": str(home / "checkpoints"),
        "GRADIO_TEMP_DIR": str(home / "gradio"),
        "OMP_NUM_THREADS": "1",
    }
    try:
        with served_from(home, before=before, **places | environment) as app:
            yield app.address
    finally:
        end_runs(home / "runs")
    log = (home / "log.txt").read_text()
    assert "Traceback" not in log, log


@pytest.fixture(params=["on a Space", "on ZeroGPU"])
def space(request, tmp_path, picture_cache):
    """Address of a studio that strangers share, in a container as a Space is one; on ZeroGPU this machine's CPU is the
    GPU that is lent."""
    kept = tmp_path / "home" / "user" / ".cache" / "redistill"
    kept.mkdir(parents=True)
    link_drawn(["emoji-clutter"], picture_cache, kept)
    is_lent = request.param == "on ZeroGPU"
    place = SPACE | {"HOME": str(tmp_path / "home" / "user"), "REDISTILL_CACHE": "", "XDG_CACHE_HOME": ""}
    place |= {"PYTHONPATH": str(write_spaces(tmp_path / "spaces", is_lent)), "HF_HUB_OFFLINE": "1"}
    place |= {"SPACES_ZERO_GPU": "true"} if is_lent else {}
    with studio(tmp_path, picture_cache, as_user_1000(ROOT), **place) as address:
        yield address


@pytest.fixture
def with_hub(tmp_path, picture_cache):
    """Address of a studio with a finished run, and the Hub that it knows."""
    write_run(tmp_path, "run", TEACHER, "finished")
    save_untrained(tmp_path / "runs" / "run", {"student": TEACHER})
    with hub_server() as hub:
        own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "hf")}
        with studio(tmp_path, picture_cache, HF_HUB_DISABLE_XET="1", **own) as address:
            yield address, hub


def end_runs(runs: Path) -> None:
    """End what a failed test left training: a run's process holds the lock of its `.process` file."""
    for file in runs.glob("*/.process"):
        with open(file) as process:
            try:
                fcntl.flock(process, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(json.load(process)["pid"], signal.SIGKILL)


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """The browser's window. All tests share it, so that what the page loads is fetched and compiled once: a profile
    in a folder keeps what was compiled, which halves what opening the page costs, a window without one does not."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "These tests need a Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        window = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=path,
            args=CHROMIUM_OPTIONS,
            permissions=["clipboard-read", "clipboard-write"],
        )
        yield window
        window.close()


@pytest.fixture
def open_page(context, site):
    """Opens pages of the studio; the test fails on any console error, failed answer or request to elsewhere."""
    troubles: list[str] = []

    def check_request(request) -> None:
        if not request.url.startswith((site, "data:", "blob:")):
            troubles.append(f"request to {request.url}")

    def open_one(query: str = "", width: int = 1280, height: int = 720, color_scheme: str = "light") -> Page:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=color_scheme)
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", check_request)
        page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.goto(site + query)
        drawn(page, "#memory")
        return page

    yield open_one
    for page in context.pages[1:]:  # the first is empty, and with the last one the browser would end
        page.close()
    assert troubles == []
