"""What a run will cost, held against the run itself."""

import json
from dataclasses import replace

import pytest
import torch

from redistill.cli.commands import main
from redistill.common import devices
from redistill.memory.measure import training_peak
from redistill.networks.student import StudentConfig
from redistill.training import estimation as module
from redistill.training.config import DistillConfig
from redistill.training.estimation import estimate
from redistill.training.loop import distill
from redistill.training.step import held_tensors, prepare


def small(**settings):
    values = {"student": StudentConfig("narrow_resnet", 32, 50, red=None), "dataset": "emoji-clutter"}
    values |= {"train_limit": 48, "batch_size": 8, "steps": 5, "validate_every": 3}
    return DistillConfig(**(values | settings))


def test_the_training_peak_counts_what_is_held_and_what_a_step_allocates():
    weight = torch.ones(1000)

    def step():
        weight.grad = torch.add(weight, weight)  # 4,000 bytes that stay
        double = weight.grad.double()
        return float(torch.add(double, double).sum())  # 8,000 and 8,000 together, and the sum of 8

    result, peak = training_peak(step, [weight, weight[:10]], torch.device("cpu"))
    assert (result, peak) == (4000.0, 4000 + 4000 + 8000 + 8000 + 8)


def test_on_a_gpu_the_peak_is_that_of_its_own_device_and_of_what_is_held(monkeypatch):
    device, asked = torch.device("cuda:1"), []
    figures = {"synchronize": None, "reset_peak_memory_stats": None, "memory_allocated": 9000}
    for name, figure in (figures | {"max_memory_allocated": 9500}).items():
        fake = lambda on=None, name=name, figure=figure: asked.append((name, on)) or figure  # noqa: E731
        monkeypatch.setattr(torch.cuda, name, fake)
    weight = torch.ones(1000)
    assert training_peak(lambda: 7, [weight, weight[:10]], device) == (7, 4000 + 500)  # not 9,500: others' are left out
    assert {on for _, on in asked} == {device} and len(asked) == 5


def test_what_is_held_on_another_device_than_the_run_s_does_not_count():
    problem, state = prepare(small())
    assert len(held_tensors(problem, state)) > 50
    assert held_tensors(replace(problem, device=torch.device("meta")), state) == []


def test_an_estimate_is_made_of_measured_parts_and_its_peak_is_the_run_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small()
    before = torch.get_rng_state()
    found = estimate(config, steps=1)
    assert torch.equal(torch.get_rng_state(), before) and not list(tmp_path.iterdir())
    whole = 5 * found.step_seconds + 2 * found.validation_seconds + found.test_seconds  # validated at steps 3 and 5
    assert found.seconds == pytest.approx(whole) and found.step_seconds > 0
    assert found.test_seconds == pytest.approx(found.validation_seconds / 8 * 108)  # 100 test images, 8 to validate
    assert found.images_per_second == pytest.approx(8 / found.step_seconds)
    run = distill(config, tmp_path / "run")
    assert [next(run)["step"] for _ in range(2)] == [1, 2]
    run.close()
    point = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert found.training_peak_bytes == point["training_peak_bytes"]
    # Of a batch twice as large only the activations are twice as large.
    larger = estimate(replace(config, batch_size=16), steps=1).training_peak_bytes
    assert found.training_peak_bytes < larger < 2 * found.training_peak_bytes


def test_a_batch_of_all_pictures_counts_as_many_as_there_are():
    found = estimate(small(train_limit=6, batch_size=64), steps=1)
    assert found.images_per_second == pytest.approx(6 / found.step_seconds)


def test_what_does_not_fit_is_told(monkeypatch):
    assert estimate(small(), steps=1).fits
    for place in (module, devices):
        monkeypatch.setattr(place, "available_memory", lambda device: 1_000_000)
    found = estimate(small(), steps=1)
    assert not found.fits and found.to_dict()["available_bytes"] == 1_000_000

    def exhausted(*step):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "train_step", exhausted)
    with pytest.raises(ValueError, match=r"8 images .* than the 1,000,000 bytes .* lower the batch size, or choose"):
        estimate(small(), steps=1)
    with pytest.raises(ValueError, match="steps is 0"):
        estimate(small(), steps=0)


def test_the_command_prints_json(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(small().to_dict()))
    assert main(["estimate", "--config", str(tmp_path / "config.json"), "--batch-size", "4"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["fits"] and printed["training_peak_bytes"] > 1_000_000 and printed["seconds"] > 0


def test_an_estimate_of_a_diffusion_run_counts_its_preview_pictures():
    unet = StudentConfig("unet_small", 32, red=None)
    found = estimate(small(student=unet, dataset="emoji-faces", batch_size=2, train_limit=8), steps=1)
    # 12 pictures in 8 rounds, and 8 previews of 20 passes; the test judges 12 more pictures instead.
    assert found.validation_seconds == pytest.approx(found.test_seconds / (24 * 8) * (12 * 8 + 8 * 20))
