"""What tests of several rooms start from; what takes long to make is made once for all of them."""

from __future__ import annotations

import gc
import os

import pytest
import torch
from helpers.made import save_untrained, train

from redistill.checkpoint import sources

gc.disable()  # until all tests are collected: none of it is garbage, and looking for some took a third of that time
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # each of them, and each process that it starts, has one core
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that workers end together; it waits for a browser or for other processes on a
    machine that may be busy, so it has a second try, of which the summary tells (-rR)."""
    longest = ("browser", "process")
    for item in items:
        if any(item.get_closest_marker(mark) for mark in longest):
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: next((i for i, mark in enumerate(longest) if item.get_closest_marker(mark)), 2))


def pytest_collection_finish() -> None:
    """What is imported by now is never garbage, and each look for some among its 700,000 objects took 0.4 s."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def picture_cache(tmp_path_factory):
    """The cache folder of all tests and workers: pictures are drawn once, and none in the user's own folder."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKERS > 1 else base) / "pictures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISTILL_CACHE", str(folder))
        yield folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders of runs, of shipped checkpoints and of imported teachers."""
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "shipped")
    for module in (
        "redistill.checkpoint.sources",
        "redistill.checkpoint.imported",
        "app.runs.choices",
        "app.runs.jobs",
    ):
        monkeypatch.setattr(f"{module}.imported_dir", lambda: tmp_path / "teachers")
    return tmp_path


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A folder of untrained checkpoints with the names of those that ship."""
    return save_untrained(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def shipped(places, untrained, monkeypatch):
    """Untrained checkpoints in the places of those that ship, and no runs."""
    monkeypatch.setattr(sources, "SHIPPED", untrained)
    return places


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, picture_cache):
    """Folder of a finished run: a teacher of emoji-clutter at 32 px. Copy it to change it."""
    return train(tmp_path_factory.mktemp("finished") / "run")
