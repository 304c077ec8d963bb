"""One studio, served in this process, for all tests here: what they replace of it, its endpoints call."""

from __future__ import annotations

import shutil

import pytest
from gradio_client import Client
from helpers.made import FACES, RED_KD, UNTRAINED, save_untrained

from app import ui
from redistill.checkpoint import sources


@pytest.fixture(scope="package")
def studio(tmp_path_factory, finished_run):
    """The address of a studio with untrained checkpoints and one finished run, called "one"."""
    home = tmp_path_factory.mktemp("studio")
    shutil.copytree(finished_run, home / "runs" / "one")
    students = {"emoji-clutter-student": RED_KD, "emoji-faces-student": FACES}
    save_untrained(home / "checkpoints", {**UNTRAINED, **students})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISTILL_RUNS", str(home / "runs"))
        patch.setenv("GRADIO_TEMP_DIR", str(home / "gradio"))
        patch.setattr(sources, "SHIPPED", home / "checkpoints")
        page = ui.build()
        ui.launch(page, port=None, prevent_thread_lock=True, quiet=True)
        yield page.local_url.rstrip("/")
        page.close(verbose=False)


@pytest.fixture(scope="package")
def client(studio):
    """What a program calls it with."""
    return Client(studio, verbose=False)
