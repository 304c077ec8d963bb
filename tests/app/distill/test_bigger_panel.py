"""The fold writes and starts exactly what the form is set to, and says what it costs before."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from helpers.forms import read_form, run_values, sent
from helpers.hub_server import local_hub
from helpers.visitors import asked_by

from app.distill import bigger_panel, estimate_panel
from app.distill.run_form import TRAIN_FIRST
from app.parts.fragments import notice
from app.runs import run_list
from redistill.training.config import DistillConfig


@pytest.fixture
def hub(shipped, tmp_path, monkeypatch):
    """A Hub with jobs, and an estimate of an hour."""
    monkeypatch.setattr(estimate_panel, "measure", lambda config, goes_elsewhere: iter([0.5, {"seconds": 3600.0}]))
    with local_hub(tmp_path / "hub", with_jobs=True) as server:
        yield server


def form(**changes: Any) -> dict[str, Any]:
    return run_values("default", seeds=1, teacher_steps=100) | changes


def written(**changes: Any) -> dict[str, Any]:
    asked = {"way": "launch", "gpus": 2, "machines": 1} | changes
    return sent(bigger_panel.write(**form(**asked)))


def settings_in(text: str) -> list[DistillConfig]:
    return [DistillConfig.from_dict(json.loads(line)) for line in re.findall(r"^\{.*\}$", text, re.MULTILINE)]


def test_what_is_written_is_what_the_form_is_set_to(shipped):
    (config,) = settings_in(written()["lines"])
    assert config == dataclasses.replace(read_form(form()), device="cuda")
    assert "--num_processes 8 --num_machines" in re.sub(
        " --mixed_precision no --dynamo_backend no", "", written(gpus=4, machines=2)["lines"]
    )
    assert written(way="sbatch")["lines"].startswith("#!/bin/bash\n#SBATCH")


def test_a_planned_teacher_and_seeds_are_several_runs(shipped):
    text = written(teacher_checkpoint=TRAIN_FIRST, seeds=2)["lines"]
    teacher, *students = settings_in(text)
    folders = re.findall(r"--run-dir (\S+)", text)
    assert len(set(folders)) == 3 and [student.seed for student in students] == [0, 1]
    assert {student.teacher_checkpoint for student in students} == {f"{folders[0]}/student"}
    assert teacher.steps == 100 and teacher.teacher_checkpoint is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": 3}, "multiple of 3"),
        ({"gpus": None}, "gpus is None"),
        ({"machines": "many"}, "machines is &#x27;many"),
        ({"way": ["sbatch"]}, "As is"),
        ({"steps": 0}, "Steps"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(shipped, changes, said):
    shown = written(**changes)
    assert said in shown["said"] and shown["lines"] == ""


def price(hardware: Any = "t4-small", space: Any = "someone/studio", **changes: Any) -> list[dict[str, Any]]:
    return list(bigger_panel.ask_price(hardware=hardware, space=space, **form(**changes)))


def test_a_run_is_started_for_the_price_that_was_said(hub):
    listed = bigger_panel.list_hardware()
    assert [name for _, name in listed["hardware"].choices] == ["cpu-basic", "t4-small", "a10g-largex4"]
    assert "$0.60 an hour" in dict(map(reversed, listed["hardware"].choices))["t4-small"]
    assert listed["hardware"].value == "t4-small"
    measuring, priced = price()
    assert "Measuring" in measuring["said"] and measuring["priced"] is None and run_list.list_runs() == []
    assert "$0.60 on t4-small" in priced["said"] and "$1.80 at most" in priced["said"]
    started = bigger_panel.start_there(priced=priced["priced"], **form())
    (job,), (run,) = hub.jobs.jobs.values(), run_list.list_runs()
    told = DistillConfig.from_dict(json.loads(job["environment"]["RUN_SETTINGS"]))
    assert told == dataclasses.replace(read_form(form()), device="cuda") and job["timeoutSeconds"] == 3 * 3600
    assert started["runs"].value == run.name and started["priced"] is None, "a second press starts nothing"
    again = bigger_panel.start_there(priced=started["priced"], **form())
    assert "ask for the price first" in again["said"] and len(hub.jobs.jobs) == 1


def test_a_form_that_has_changed_since_starts_nothing(hub):
    *_, priced = price()
    said = bigger_panel.start_there(priced=priced["priced"], **form(steps=7))["said"]
    assert "has changed since" in said and not hub.jobs.jobs


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"hardware": "h9000"}, "h9000"), ({"hardware": None}, "None"), ({"seeds": 2}, "one seed"),
     ({"teacher_checkpoint": TRAIN_FIRST}, "a teacher that is there"), ({"steps": 0}, "Steps")],
)  # fmt: skip
def test_what_has_no_price_is_a_sentence(hub, changes, said):
    *_, last = price(**changes)
    assert said in last["said"] and last["priced"] is None


def test_without_a_network_it_is_one_sentence(shipped, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in bigger_panel.list_hardware()["said"]
    assert "cannot be reached" in price()[-1]["said"]


@pytest.mark.parametrize("error", [ValueError("The Hub says: <no>."), OSError("No room left.")])
def test_what_keeps_the_hardware_from_being_listed_is_said_beside_its_button(shipped, monkeypatch, error):
    def refuse(token):
        raise error

    monkeypatch.setattr(bigger_panel.hub_jobs, "list_hardware", refuse)
    assert bigger_panel.list_hardware() == {"said": notice("", str(error))}


def test_on_a_space_nobody_pays_but_who_has_signed_in(hub):
    with asked_by("browser:a"):
        *_, priced = price()
        said = bigger_panel.start_there(priced=priced["priced"], **form())["said"]
    assert "sign in with Hugging Face" in said and not hub.jobs.jobs
