"""Two processes on the CPU, started by torchrun, beside one."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.records import read_metrics

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.common.files import read_json
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training import loop
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.parallel import Processes, join

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process
STRIDES = {"conv1": 4, "maxpool": 1, "layer4.0": 1}

# What both processes do, one run after the other; each notes what it came to.
WORKER = """
import json, os, sys
from pathlib import Path
import torch
from redistill.training import classification, loop
from redistill.training.config import DistillConfig

distill = loop.distill
loop.final_figures = lambda problem, model: ({}, {})  # whose pictures would have to be drawn
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
configs = {name: DistillConfig.from_dict(v) for name, v in json.loads((folder / "configs.json").read_text()).items()}
notes = {name: [r["kind"] for r in distill(config, folder / "two" / name)] for name, config in configs.items()}

stopped = folder / "two" / "stopped"
notes["stopped"] = []
for record in distill(configs["red"], stopped):
    notes["stopped"].append(record["step"])
    if rank == 0 and record["step"] == 2:
        (stopped / "stop").touch()
notes["continued"] = [record["step"] for record in distill(configs["red"], stopped)]
notes["finished"] = list(distill(configs["red"], stopped))

losses = classification.losses
def fails(name, run, how):
    # Notes what the run ends with when process 1 goes wrong, in the given way, in its second step.
    def failing(problem, step, generator):
        if rank == 1 and step == 1:
            how(problem)
        return losses(problem, step, generator)
    classification.losses = failing
    try:
        list(distill(configs[run], folder / "two" / name))
    except Exception as error:
        notes[name] = str(error)

def at_once(problem):
    raise ValueError("no more memory")
def within_the_network(problem):
    problem.model.register_forward_pre_hook(lambda module, inputs: 1 / 0)
fails("failed", "red", at_once)
fails("broken", "sp", within_the_network)
(folder / f"notes-{rank}.json").write_text(json.dumps(notes))
"""


@pytest.fixture(scope="module")
def untested():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "final_figures", lambda problem, model: ({}, {}))
        yield


def configs(folder):
    """A teacher for them, and runs of every kind of loss: means over pictures, and relations between pictures."""
    reference = StudentConfig("narrow_resnet", 32, 50, red=None)
    torch.manual_seed(0)
    metadata = Metadata(reference, "emoji-clutter")
    teacher = checkpoint.save(checkpoint.build_student(reference), metadata, folder / "teacher")
    red = DistillConfig(
        student=replace(reference, strides=STRIDES, red=REDConfig()),
        dataset="emoji-clutter",
        teacher_checkpoint=str(teacher),
        kd_weight=0.1,
        steps=4,
        batch_size=8,
        train_limit=32,
        validate_every=2,
        save_every=1,
        freeze_batch_norm=True,
    )
    relations = replace(red, feature_loss="sp", feature_weight=10.0, red_weight=0.0)
    return {"red": replace(red, feature_loss="vid", ema_decay=0.9), "sp": relations}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, untested):
    """Where all runs were made by two processes, the first ones by one process too."""
    folder = tmp_path_factory.mktemp("runs")
    runs = configs(folder)
    (folder / "configs.json").write_text(json.dumps({name: config.to_dict() for name, config in runs.items()}))
    for name, config in runs.items():
        list(distill(config, folder / "one" / name))
    (folder / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*command, str(folder / "worker.py"), str(folder)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return folder


def steps(run):
    return [record for record in read_metrics(run) if record["kind"] == "step"]


@pytest.mark.parametrize("name", ["red", "sp"])
def test_two_processes_take_the_steps_of_one(folder, name):
    one, two = steps(folder / "one" / name), steps(folder / "two" / name)
    assert [record["step"] for record in two] == [1, 2, 3, 4]
    for alone, shared in zip(one, two, strict=True):
        for part in (part for part in alone if part.endswith("loss")):
            assert shared[part] == pytest.approx(alone[part], abs=1e-5, rel=1e-5), (part, alone["step"])
    first, second = (checkpoint.load(folder / kind / name / "student").state_dict() for kind in ("one", "two"))
    for key, value in first.items():
        assert torch.allclose(value, second[key], atol=1e-4), key


def test_only_the_main_process_validates_tests_and_writes(folder):
    main, other = (read_json(folder / f"notes-{rank}.json") for rank in (0, 1))
    assert main["red"] == ["step", "step", "validation", "step", "step", "validation", "final"]
    assert other["red"] == ["step"] * 4
    assert len(read_metrics(folder / "two" / "red")) == 7


def test_all_processes_stop_resume_and_fail_together(folder):
    main, other = (read_json(folder / f"notes-{rank}.json") for rank in (0, 1))
    assert main["stopped"][-1] == 2 and other["stopped"] == [1, 2]
    assert main["continued"] == [2, 3, 4, 4, 4] and other["continued"] == [3, 4]  # validations, and the final record
    assert main["finished"] == other["finished"] == []
    whole, parts = (checkpoint.load(folder / "two" / name / "student").state_dict() for name in ("red", "stopped"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert other["failed"] == "no more memory"
    assert main["failed"] == "Process 1 of 2 failed: no more memory"
    status = read_json(folder / "two" / "failed" / "status.json")
    assert (status["state"], status["step"], status["error"]) == ("failed", 1, main["failed"])


def test_failing_where_the_others_wait_for_maps_leaves_none_of_them_waiting(folder):
    main, other = (read_json(folder / f"notes-{rank}.json") for rank in (0, 1))
    assert other["broken"] == "division by zero"
    assert main["broken"] == "Process 1 of 2 failed: division by zero"


def test_what_processes_cannot_share_is_told(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="share out the GPUs"):
        join("cuda:1")
    assert [Processes(rank, 4).share(torch.arange(8)).tolist() for rank in (0, 3)] == [[0, 1], [6, 7]]
    for rank in range(4):  # chunks of 3, 3, 3 and 1
        with pytest.raises(ValueError, match=r"10 pictures, which 4 processes cannot share evenly.*batch_size"):
            Processes(rank, 4).share(torch.arange(10))
