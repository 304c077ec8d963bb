"""A run, checkpoints and a link made by earlier code still open, resume and draw, with the figures they had then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.records import read_metrics

from app.explore.link import from_query, parse_query, to_query
from app.runs.result import peak_bytes
from app.words.settings import setting_rows
from redistill import load, sample
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.pipeline import load_scheduler
from redistill.checkpoint.sources import with_unets
from redistill.common.files import read_json
from redistill.memory import capture
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.training import diffusion
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.run_state import read_state
from redistill.training.step import learning_rate

BEFORE = Path(__file__).parent / "data_before"  # its README says what lies there
FIGURES = json.loads((BEFORE / "figures.json").read_text())


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A copy to work in; the run there calls its teacher "ddpm:ddpm", a folder beside it."""
    monkeypatch.setattr(diffusion, "PREVIEW_STEPS", 2)
    monkeypatch.setattr(diffusion, "JUDGING_ROUNDS", 1)
    monkeypatch.chdir(shutil.copytree(BEFORE, tmp_path / "before"))
    return tmp_path / "before"


def test_a_stopped_run_is_read_and_resumed(before):
    run = before / "run"
    found = read_state(run)
    assert (found.state, found.step, found.steps) == ("stopped", 2, 4)
    assert [record["step"] for record in read_metrics(run)] == [1, 2]
    config = DistillConfig.from_dict(found.config)
    assert peak_bytes(with_unets(config.student)) == FIGURES["final"]["fused_peak_bytes"]
    *_, final = distill(config, run)
    for name, value in FIGURES["final"].items():
        assert final[name] == pytest.approx(value, rel=1e-4), name
    assert read_state(run).state == "finished"
    # What it leaves can be built without its teacher's folder, which the run's own settings had to name.
    shutil.rmtree(before / "ddpm")
    student = read_metadata(run / "student").student
    assert student.unknown_unets == [] and build_student(student).config.pooling_strides == (2, 2, 2, 1)
    assert build_reference(student).config.pooling_strides == (1, 2, 2, 2)
    assert load(run / "student").config.block_out_channels == [4, 4, 8, 8]


def test_settings_are_written_as_before():
    for values in (read_json(BEFORE / "run" / "config.json"), read_json(BEFORE / "classifier" / "config.json")):
        assert StudentConfig.from_dict(values["student"]).to_dict() == values["student"]
    run = read_json(BEFORE / "run" / "config.json")
    assert json.loads(json.dumps(DistillConfig.from_dict(run).to_dict())) == run


def test_a_run_that_warms_up_for_a_part_of_a_step_opens_with_its_rates():
    values = read_json(BEFORE / "run" / "config.json") | {"warmup_steps": 2.5, "schedule": "constant"}
    config = DistillConfig.from_dict(values)
    assert config.to_dict()["warmup_steps"] == 2.5
    rates = [learning_rate(config, step) / config.learning_rate for step in range(4)]
    assert rates == pytest.approx([0.4, 0.8, 1.2, 1.0])
    assert setting_rows(values)["Warm-up steps"] == "2.5" and setting_rows(values | {"warmup_steps": 5e3}) == (
        setting_rows(values | {"warmup_steps": 5000})
    )


def test_a_student_of_a_ddpm_draws_the_same_images_also_without_its_teacher(before):
    shutil.rmtree(before / "ddpm")
    model = load("ddpm-student")
    *_, last = sample(model, [0, 1], steps=3, noise_scheduler=load_scheduler("ddpm-student"))
    pixels = last.images[:, :, 4::12, 4::12].flatten().tolist()
    assert pixels == pytest.approx(FIGURES["drawn"], abs=2)


def test_a_classifier_gives_the_same_logits(before):
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32).sin()
    with torch.no_grad():
        logits = load("classifier")(images)
    assert torch.allclose(logits, torch.tensor(FIGURES["logits"]), atol=1e-5)
    assert read_metadata("classifier").metrics == {"test_accuracy": 0.5}
    assert StudentConfig.from_dict(read_json(before / "classifier" / "config.json")["student"]).unets == {}


def test_a_link_shows_the_same_peaks():
    settings = from_query(parse_query(FIGURES["link"]["query"]))
    assert to_query(settings) == FIGURES["link"]["query"]
    shown = [settings, *(pin for _, pin in settings.pins)]
    assert len(shown) == len(FIGURES["link"]["peaks"])
    for one, (teacher, student, _) in zip(shown, FIGURES["link"]["peaks"], strict=True):
        size = one.student.image_size
        for network, peak in ((build_reference(one.student), teacher), (build_student(one.student), student)):
            profile = capture(network, (1, 3, size, size)).profile(accounting=one.accounting, dtype=one.dtype)
            assert profile.peak_bytes == peak
