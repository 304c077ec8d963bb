"""The estimate on the Distill tab: measured in a process of its own, cancelled, refused, put into words."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from app.distill import estimate_panel
from app.distill.plan import Plan
from app.parts import turns
from app.parts.turns import Turn
from app.runs import jobs, run_list
from redistill.training.presets import PRESETS

CONFIG = dataclasses.replace(
    PRESETS["undistilled"].config, steps=10, batch_size=4, train_limit=24, validate_every=5, red_weight=0.0
)
VALUES = {
    "seconds": 75.0,
    "images_per_second": 250.0,
    "training_peak_bytes": 2**30,
    "available_bytes": 2**31,
    "fits": True,
    "device": "<2 threads>",
}


def own_turn() -> Turn:
    """The turn of the only estimate that goes on."""
    line: list[Turn] = []
    line.append(Turn("", line))
    return line[0]


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.process
def test_an_estimate_is_measured_and_said():
    *waiting, (shown, ask, cancel) = estimate_panel.show(lambda: Plan((CONFIG,)), own_turn())
    assert waiting and "Measuring a few steps" in waiting[0][0] and waiting[0][2].visible
    for part in ("Time</td><td>about", "images/s", "Peak while training</td><td>", "fits"):
        assert part in shown
    assert ask.interactive and not cancel.visible


def script(monkeypatch, text: str) -> list:
    """Let the process be a Python script instead; its children are noted."""
    children, popen = [], estimate_panel.subprocess.Popen

    def start(command, **settings):
        children.append(popen([sys.executable, "-c", text], **settings))
        return children[-1]

    monkeypatch.setattr(estimate_panel.subprocess, "Popen", start)
    return children


@pytest.mark.process
def test_a_cancelled_estimate_ends_its_process_and_leaves_no_files(monkeypatch, tmp_path):
    monkeypatch.setattr(estimate_panel.tempfile, "tempdir", str(tmp_path))
    children = script(monkeypatch, "import time; time.sleep(600)")
    shown = estimate_panel.show(lambda: Plan((CONFIG,)), own_turn())
    next(shown)
    assert len(list(tmp_path.iterdir())) == 1 and children[0].poll() is None
    shown.close()
    assert children[0].returncode is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_cancelling_is_the_last_word_of_an_estimate(monkeypatch):
    children = script(monkeypatch, "import time; time.sleep(600)")
    going = estimate_panel.show(lambda: Plan((CONFIG,)), turn := own_turn())
    next(going), next(going)
    turn.is_stopped = True
    ((shown, ask, cancel),) = going
    assert shown == "" and ask.interactive and not cancel.visible
    assert children[0].returncode is not None


@pytest.mark.process
def test_an_estimate_that_waits_for_another_says_so_and_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.0)
    children, other = script(monkeypatch, "import time; time.sleep(600)"), Turn("", [])
    turn = Turn("", [other])
    going = estimate_panel.show(lambda: Plan((CONFIG,)), turn)
    said, ask, cancel = next(going)
    assert "Waiting for another estimate" in said and not ask.interactive and cancel.visible
    turn.is_stopped = True
    ((said, ask, cancel),) = going
    assert said == "" and ask.interactive and not cancel.visible and children == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys; sys.exit('redistill: One step needs more than there is.')", "One step needs more than there is."),
        ("print('no JSON')", "its process ended with 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "want of memory"),
    ],
)
def test_a_process_that_fails_is_a_sentence(monkeypatch, text, sentence):
    script(monkeypatch, text)
    *_, (shown, ask, cancel) = estimate_panel.show(lambda: Plan((CONFIG,)), own_turn())
    assert "No estimate." in shown and sentence in shown
    assert ask.interactive and not cancel.visible


@pytest.mark.process
def test_one_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(estimate_panel, "LONGEST", 0.1)
    children = script(monkeypatch, "import time; time.sleep(600)")
    *_, (shown, _, _) = estimate_panel.show(lambda: Plan((CONFIG,)), own_turn())
    assert "longer than 0 s" in shown and children[0].returncode is not None


def test_settings_that_do_not_fit_start_no_process(monkeypatch):
    children = script(monkeypatch, "")

    def refuse():
        raise ValueError("steps is 0.")

    ((shown, _, _),) = estimate_panel.show(refuse, own_turn())
    assert "steps is 0." in shown and children == []


def test_what_does_not_fit_is_said():
    assert '2.00 GiB: <strong class="fits">fits' in estimate_panel.table(VALUES)
    tight = estimate_panel.table(VALUES | {"fits": False}, "2 runs train there now.")
    assert "does not fit" in tight and "2 runs train there now" in tight and "&lt;2 threads&gt;" in tight
    assert "Free memory" not in estimate_panel.table({"seconds": "long"})


def test_a_run_says_whether_it_would_wait_and_how_long(monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr(run_list, "everybodys", lambda: runs)
    monkeypatch.setattr(
        run_list, "records", lambda run: [{"kind": "step", "images_per_second": 2.0}] if run.step else []
    )

    def add(state: str, step: int = 0, device: str = "cpu"):
        config = CONFIG.to_dict() | {"device": device}
        runs.append(jobs.Run(state, tmp_path, state, state, step=step, steps=100, config=config))

    monkeypatch.setenv("REDISTILL_CPU_RUNS", "1")
    add("finished", 100)
    add("running", 10, "cuda:0")
    assert estimate_panel.place_in_line(CONFIG) == ""
    add("running", 70)
    waits = "Started now, it waits for 1 run there to end"
    assert estimate_panel.place_in_line(CONFIG).startswith(f"{waits}, about 1 min 0 s; measured beside")
    on_gpu = dataclasses.replace(CONFIG, device="cuda")
    assert estimate_panel.place_in_line(on_gpu).startswith(f"{waits}, about 3 min 0 s;")
    monkeypatch.setenv("REDISTILL_CPU_RUNS", "2")
    assert estimate_panel.place_in_line(CONFIG) == "1 run trains there now, which slows this one."
    add("starting")
    assert estimate_panel.place_in_line(CONFIG).startswith(f"{waits}; measured")
    monkeypatch.setenv("REDISTILL_CPU_RUNS", "1")
    assert "waits for 2 runs there to end; measured" in estimate_panel.place_in_line(CONFIG)
