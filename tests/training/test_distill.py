"""The training loop on small pieces of the real data sets."""

import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DOutput
from helpers.held_run import hold
from helpers.made import small
from helpers.records import read_metrics

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.cli.commands import main
from redistill.common.files import read_json
from redistill.networks.red import REDConfig, red_modules
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.training import classification, diffusion
from redistill.training.classification import batch_rows
from redistill.training.config import DistillConfig, SettingError
from redistill.training.feature_losses import FEATURE_LOSSES
from redistill.training.loop import distill
from redistill.training.step import learning_rate, prepare, train_step, update_average
from redistill.training.task import load_problem

ROOT = Path(__file__).resolve().parents[2]
STRIDES = {"conv1": 4, "maxpool": 1, "layer4.0": 1}


def student(red=None, strides=None):
    return StudentConfig("narrow_resnet", 32, 50, strides or {}, red=red)


@pytest.fixture
def teacher(finished_run):
    return finished_run / "student"


def weights(run):
    return checkpoint.load(run / "student").state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_yields_writes_and_ends_with_a_checkpoint(tmp_path, teacher):
    config = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), kd_weight=0.5)
    records = list(distill(config, tmp_path))
    steps = [record for record in records if record["kind"] == "step"]
    assert [record["step"] for record in steps] == [1, 2, 3, 4, 5, 6]
    for record in steps:
        total = record["task_loss"] + record["red_loss"] + 0.5 * record["kd_loss"]
        assert record["loss"] == pytest.approx(total, rel=1e-5)
        assert 0 < record["red_loss"] <= 2
    assert [record["step"] for record in records if record["kind"] == "validation"] == [3, 6]
    final = records[-1]
    assert final["kind"] == "final" and 0 <= final["test_accuracy"] <= 1
    assert [r for r in read_metrics(tmp_path) if r["kind"] == "step"] == steps
    assert read_json(tmp_path / "status.json")["state"] == "finished"
    assert DistillConfig.from_dict(read_json(tmp_path / "config.json")) == config
    model = checkpoint.load(tmp_path / "student")
    assert len(red_modules(model)) == 5 and not model.training
    metadata = read_metadata(tmp_path / "student")
    assert final["measured_peak_bytes"] == final["eager_peak_bytes"] > final["fused_peak_bytes"] > 0
    assert final["training_peak_bytes"] > 48 * 3 * 32 * 32 + 4 * final["parameters"]  # the data and the weights alone
    assert metadata.metrics["training_peak_bytes"] == final["training_peak_bytes"]
    assert metadata.student == config.student and metadata.metrics["test_accuracy"] == final["test_accuracy"]
    assert list(distill(config, tmp_path)) == []


@pytest.mark.parametrize("feature_loss", [None, "vid"])
def test_a_run_that_is_stopped_and_continued_ends_with_the_same_weights(tmp_path, teacher, feature_loss, monkeypatch):
    config = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), feature_loss=feature_loss)
    config = replace(config, ema_decay=0.9)
    list(distill(config, tmp_path / "whole"))
    run = distill(config, tmp_path / "parts")
    next(run)
    run.close()
    assert read_json(tmp_path / "parts" / "status.json")["state"] == "stopped"
    for record in distill(config, tmp_path / "parts"):
        if record["step"] == 3:  # before the validation that follows it
            (tmp_path / "parts" / "stop").touch()
    assert not (tmp_path / "parts" / "student").exists()
    loop, found = sys.modules[distill.__module__], []
    prepare = loop.prepare

    def note_status(*settings):
        found.append(read_json(tmp_path / "parts" / "status.json"))
        return prepare(*settings)

    monkeypatch.setattr(loop, "prepare", note_status)
    rest = list(distill(config, tmp_path / "parts"))
    assert [(status["state"], status["step"]) for status in found] == [("running", 3)]
    assert [(record["kind"], record["step"]) for record in rest[:2]] == [("validation", 3), ("step", 4)]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert rest[-1]["training_peak_bytes"] == read_metrics(tmp_path / "whole")[-1]["training_peak_bytes"]
    for name in ("whole", "parts"):
        assert [r["step"] for r in read_metrics(tmp_path / name) if r["kind"] == "step"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.process
def test_a_killed_run_continues_to_the_same_weights(tmp_path, teacher):
    config = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), feature_loss="fitnet")
    config = replace(config, steps=40, save_every=5)
    list(distill(config, tmp_path / "whole"))
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = [sys.executable, "-m", "redistill", "train", "--config", str(tmp_path / "config.json")]
    command += ["--run-dir", str(tmp_path / "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(read_metrics(tmp_path / "killed")) < 7:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = len(read_metrics(tmp_path / "killed"))
    assert before >= 7 and not (tmp_path / "killed" / "student").exists()
    list(distill(config, tmp_path / "killed"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_red_blocks_without_loss_and_loss_without_blocks(tmp_path, teacher):
    silent = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), red_weight=0.0, steps=2)
    assert "red_loss" not in next(distill(silent, tmp_path / "silent"))
    bare = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), steps=2)
    assert next(distill(bare, tmp_path / "bare"))["red_loss"] > 0


@pytest.mark.parametrize("feature_loss", FEATURE_LOSSES)
def test_every_feature_loss_trains_the_student_and_leaves_nothing_in_its_checkpoint(tmp_path, teacher, feature_loss):
    config = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), feature_loss=feature_loss)
    config = replace(config, red_weight=0.0, feature_weight=2.0, steps=1)
    first, *_ = distill(config, tmp_path)
    assert first["loss"] == pytest.approx(first["task_loss"] + 2 * first["feature_loss"], rel=1e-5)
    model = build_student(config.student)
    assert weights(tmp_path).keys() == model.state_dict().keys()
    point = torch.load(tmp_path / "last.pt", weights_only=True)
    learnt = [name for name in point["adapters"] if not name.endswith(("running_mean", "running_var", "tracked"))]
    assert bool(learnt) == (feature_loss in ("fitnet", "vid", "crd", "review", "channels"))
    trained = len(list(model.parameters())) + len(learnt)
    assert [value["step"] for value in point["optimizer"]["state"].values()] == [1] * trained


def test_decoupled_kd_has_its_own_weights(tmp_path, teacher):
    settings = {"student": student(None, STRIDES), "teacher_checkpoint": str(teacher), "kd_weight": 0.5, "steps": 1}
    first = {}
    for name, changes in {"plain": {}, "heavy": {"dkd_alpha": 2.0, "dkd_beta": 4.0}, "kl": {"kd": "kl"}}.items():
        config = small(**{"kd": "dkd", "dkd_beta": 2.0, "red_weight": 0.0, **settings, **changes})
        first[name] = next(distill(config, tmp_path / name))
    plain, heavy, kl = (first[name]["kd_loss"] for name in ("plain", "heavy", "kl"))
    assert heavy == pytest.approx(2 * plain, rel=1e-5) and plain != pytest.approx(kl, rel=1e-2)
    assert first["plain"]["loss"] == pytest.approx(first["plain"]["task_loss"] + 0.5 * plain, rel=1e-5)


def test_multi_level_kd_takes_the_place_of_kd(tmp_path, teacher):
    settings = {"student": student(None, STRIDES), "teacher_checkpoint": str(teacher), "kd_weight": 0.5, "steps": 1}
    values = {}
    for kd in ("kl", "mlld"):
        config = small(**{"kd": kd, "red_weight": 0.0, "mixup": 0.2, **settings})
        record = next(distill(config, tmp_path / kd))
        assert record["loss"] == pytest.approx(record["task_loss"] + 0.5 * record["kd_loss"], rel=1e-5)
        values[kd] = record["kd_loss"]
    assert values["mlld"] > values["kl"] > 0, "how pictures and classes relate comes on top"


def test_maps_of_stage_wise_alignment_are_pooled_to_the_smaller(tmp_path, teacher):
    stages = replace(student(REDConfig(), STRIDES), alignment="stage-wise")
    config = small(student=stages, teacher_checkpoint=str(teacher), feature_loss="at", steps=2)
    record = next(distill(config, tmp_path / "run"))
    assert 0 < record["red_loss"] < 2 and record["feature_loss"] > 0
    list(distill(config, tmp_path / "run"))
    assert len(red_modules(checkpoint.load(tmp_path / "run" / "student"))) == 9


def test_teacher_and_student_of_different_architectures(tmp_path):
    reference = StudentConfig("resnet18", 32, 50, red=None)
    folder = checkpoint.save(build_student(reference), Metadata(reference, "emoji-clutter"), tmp_path / "t")
    strides = {"features.0.0": 8, "features.2.conv.1.0": 1, "features.14.conv.1.0": 1}
    mobile = StudentConfig("resnet18", 32, 50, strides, architecture="mobilenet_v2")
    config = small(student=mobile, teacher_checkpoint=str(folder), feature_loss="fitnet", kd_weight=0.1, steps=1)
    *_, final = distill(config, tmp_path / "run")
    assert 0 <= final["test_accuracy"] <= 1
    model = checkpoint.load(tmp_path / "run" / "student")
    assert type(model).__name__ == "MobileNetV2" and len(red_modules(model)) == 5
    with pytest.raises(ValueError, match="shares no weights"):
        next(distill(replace(config, init="teacher"), tmp_path / "other"))


def test_a_run_from_before_a_setting_existed_goes_on(tmp_path):
    config = small()
    run = distill(config, tmp_path)
    next(run)
    run.close()
    stored, point = read_json(tmp_path / "config.json"), torch.load(tmp_path / "last.pt", weights_only=True)
    for name in ("kd", "dkd_alpha", "dkd_beta", "feature_loss", "feature_weight"):
        del stored[name]
    del stored["student"]["alignment"], point["adapters"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    torch.save(point, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="another 'kd'"):
        next(distill(replace(config, kd="dkd"), tmp_path))
    assert next(distill(config, tmp_path))["step"] == 2


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_fused_optimizer_steps_are_those_of_the_plain_one(teacher, optimizer):
    """On the CPU the fused kernels read memory as it lies: wrong where a gradient's strides are not its parameter's."""
    config = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), optimizer=optimizer)
    trained = []
    for fused in (True, False):
        problem, state = prepare(config)
        for group in state.optimizer.param_groups:
            assert group["fused"]
            group["fused"] = fused
        assert not state.model.layer1[0].conv1.weight.is_contiguous()  # channels_last
        for _ in range(2):
            train_step(problem, state)
        trained.append(torch.cat([parameter.flatten() for parameter in state.model.parameters()]))
    assert torch.allclose(*trained, rtol=1e-3, atol=1e-4)


def test_a_card_tells_how_long_the_weights_were_trained_that_a_run_starts_from(tmp_path, teacher):
    config = small(init="teacher", teacher_checkpoint=str(teacher), red_weight=0.0)
    list(distill(config, tmp_path / "on"))
    further = replace(config, teacher_checkpoint=str(tmp_path / "on" / "student"))
    final = list(distill(further, tmp_path / "further"))[-1]
    assert (
        final["steps_before"] == 12 and "| steps_before | 12 |" in (tmp_path / "further/student/README.md").read_text()
    )
    alone = read_metadata(teacher).metrics
    assert "steps_before" not in alone


def test_students_may_start_from_the_teacher(tmp_path, teacher):
    config = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), init="teacher", learning_rate=1e-12)
    list(distill(replace(config, steps=1, grad_clip=0.0), tmp_path))
    kept, origin = weights(tmp_path), checkpoint.load(teacher).state_dict()
    assert torch.allclose(kept["fc.weight"], origin["fc.weight"], atol=1e-6)


def test_layers_that_start_fresh_in_a_run_that_starts_from_weights_are_said(tmp_path, teacher, capsys):
    whole = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), init="teacher", steps=1)
    assert "fresh" not in next(distill(whole, tmp_path / "whole"))
    patches = replace(whole, student=replace(whole.student, stem="patches"))
    list(distill(patches, tmp_path / "patches"))
    built = replace(whole, teacher_checkpoint=str(tmp_path / "patches" / "student"), accept_teacher=True)
    (tmp_path / "config.json").write_text(json.dumps(built.to_dict()))
    main(["distill", "--config", str(tmp_path / "config.json"), "--run-dir", str(tmp_path / "built")])
    first = read_metrics(tmp_path / "built")[0]
    assert first["fresh"].startswith("conv1 starts from fresh weights, all else from those of the teacher")
    assert first["fresh"] in "".join(capsys.readouterr())


def test_mixed_precision_is_near_full_precision_and_keeps_fp32_weights(tmp_path, teacher):
    full = small(student=student(REDConfig(), STRIDES), teacher_checkpoint=str(teacher), kd_weight=0.5, steps=2)
    full = replace(full, feature_loss="sp", feature_weight=1.0)
    mixed = replace(full, precision="bf16")
    first, second = (next(distill(config, tmp_path / config.precision)) for config in (full, mixed))
    for name in (name for name in first if name.endswith("loss")):
        assert second[name] == pytest.approx(first[name], rel=0.05, abs=1e-3)
        assert second[name] != first[name]
    list(distill(mixed, tmp_path / "bf16"))
    assert {value.dtype for value in weights(tmp_path / "bf16").values()} == {torch.float32, torch.int64}


def test_frozen_batch_norm_statistics_stay_and_are_used(tmp_path, teacher):
    config = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), init="teacher", steps=2)
    config = replace(config, freeze_batch_norm=True)
    first, *_ = distill(config, tmp_path)
    kept, origin = weights(tmp_path), checkpoint.load(teacher).state_dict()
    statistics = [name for name in kept if "running" in name]
    assert statistics and all(torch.equal(kept[name], origin[name]) for name in statistics)
    assert not torch.equal(kept["bn1.weight"], origin["bn1.weight"])
    moving = next(distill(replace(config, freeze_batch_norm=False), tmp_path / "moving"))
    assert moving["task_loss"] != first["task_loss"]


def test_augmentation_and_mixed_pictures_are_settings(tmp_path, teacher):
    config = small(student=student(None, STRIDES), teacher_checkpoint=str(teacher), kd_weight=0.5, steps=1)
    settings = {"own": {}, "named": {"augmentation": "flip-shift"}, "none": {"augmentation": "none"}}
    settings |= {"mixup": {"mixup": 0.4}, "cutmix": {"cutmix": 1.0}}
    first = {}
    for name, changes in settings.items():
        first[name] = next(distill(replace(config, **changes), tmp_path / name))["loss"]
    assert first["own"] == first["named"] and len(set(first.values())) == 4


def test_diffusion_run(tmp_path):
    settings = {"dataset": "emoji-faces", "batch_size": 2, "distance": "mse", "ema_decay": 0.9}
    settings |= {"steps": 2, "validate_every": 2, "train_limit": 8}
    unet = StudentConfig("unet_small", 32, red=None)
    list(distill(small(student=unet, **settings), tmp_path / "teacher"))
    strides = {"conv_in": 2, "down_blocks.2.downsamplers.0": 1}
    config = small(
        student=replace(unet, strides=strides, red=REDConfig()),
        teacher_checkpoint=str(tmp_path / "teacher" / "student"),
        kd_weight=0.5,
        feature_loss="sp",
        feature_weight=0.1,
        **settings,
    )
    records = list(distill(config, tmp_path / "student"))
    first = records[0]
    total = first["task_loss"] + first["red_loss"] + 0.5 * first["kd_loss"] + 0.1 * first["feature_loss"]
    assert first["loss"] == pytest.approx(total, rel=1e-5)
    assert records[-1]["test_prediction_loss"] > 0
    assert records[-1]["measured_peak_bytes"] == records[-1]["eager_peak_bytes"] > 0
    assert (tmp_path / "student" / "samples" / "step-000002.png").stat().st_size > 1000
    model = checkpoint.load(tmp_path / "student" / "student")
    assert len(red_modules(model)) == 10 and tuple(model.config.pooling_strides) == (2, 2, 2, 1)


def test_noise_and_times_of_judging_are_the_same_on_every_device(monkeypatch):
    config = small(student=StudentConfig("unet_small", 32, red=None), dataset="emoji-faces")
    problem = load_problem(diffusion, config, None, None, torch.device("cpu"))
    monkeypatch.setattr(diffusion.F, "mse_loss", lambda output, target: torch.zeros(()))
    noised, drawn, generators = diffusion._noised, [], []

    def noted(problem, images, generator):
        drawn.append(noised(problem, images, generator))
        generators.append(generator.get_state())
        return drawn[-1]

    monkeypatch.setattr(diffusion, "_noised", noted)
    model = torch.nn.Module()
    model.forward = lambda noisy, times: UNet2DOutput(noisy)
    for device in (torch.device("cpu"), torch.device("meta")):
        diffusion.judge(replace(problem, device=device), model, problem.validation)
        assert {value.device for values in drawn[-8:] for value in values} == {device}
    assert len(generators) == 16 and all(map(torch.equal, generators[:8], generators[8:]))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path):
    config = small(learning_rate=1e30, optimizer="sgd", grad_clip=0.0, schedule="constant", save_every=1, steps=30)
    with pytest.raises(ValueError, match="lower the learning rate"):
        list(distill(config, tmp_path))
    status = read_json(tmp_path / "status.json")
    assert status["state"] == "failed" and "lower the learning rate" in status["error"]
    step = torch.load(tmp_path / "last.pt", weights_only=True)["step"]
    assert step == len([r for r in read_metrics(tmp_path) if r["kind"] == "step"])


@pytest.mark.parametrize(
    ("grad_clip", "match"), [(1.0, "gradient's length is nan, not finite at step 2"), (0.0, "at step 2")]
)
def test_a_gradient_that_is_not_finite_never_reaches_the_resume_point(tmp_path, monkeypatch, grad_clip, match):
    config = small(grad_clip=grad_clip, save_every=1)
    losses = classification.losses

    def spoilt(problem, step, generator):
        parts = losses(problem, step, generator)
        if step == 1:
            parts["task_loss"].register_hook(lambda gradient: gradient * float("nan"))
        return parts

    monkeypatch.setattr(classification, "losses", spoilt)
    with pytest.raises(ValueError, match=match):
        list(distill(config, tmp_path))
    point = torch.load(tmp_path / "last.pt", weights_only=True)
    assert point["step"] == 1 and all(value.isfinite().all() for value in point["model"].values())
    monkeypatch.undo()
    assert next(distill(config, tmp_path))["step"] == 2


@pytest.mark.process
def test_two_runs_never_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, small(), ready, leave))
    process.start()
    try:
        assert ready.wait(120)
        with pytest.raises(ValueError, match="in use by another process"):
            next(distill(small(), tmp_path))
    finally:
        leave.set()
        process.join(60)
    with pytest.raises(ValueError, match="another 'seed'"):
        next(distill(small(seed=2), tmp_path))


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        next(distill(small(), tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_device_without_memory_is_one_sentence(tmp_path, monkeypatch, capsys, error):
    def exhausted(*arguments):
        raise error

    monkeypatch.setattr(classification, "losses", exhausted)
    (tmp_path / "config.json").write_text(json.dumps(small().to_dict()))
    assert main(["train", "--config", str(tmp_path / "config.json"), "--run-dir", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Training with 16 images of 32 px a step needs more memory than the" in told
    assert told.endswith("had left; lower the batch size, or choose smaller images or a smaller network.")
    status = read_json(tmp_path / "run" / "status.json")
    assert status["state"] == "failed" and told == f"redistill: {status['error']}"


def test_a_damaged_resume_point_is_one_sentence(tmp_path):
    run = distill(small(), tmp_path)
    next(run)
    run.close()
    (tmp_path / "last.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"last\.pt is damaged"):
        next(distill(small(), tmp_path))


def test_metrics_survive_a_cut_line(tmp_path):
    run = distill(small(), tmp_path)
    next(run)
    run.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "st')
    list(distill(small(), tmp_path))
    assert [r["step"] for r in read_metrics(tmp_path) if r["kind"] == "step"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"batch_size": True},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": 10**400},
        {"red_weight": -1},
        {"temperature": 0},
        {"distance": "l1"},
        {"kd": "decoupled"},
        {"dkd_beta": -1},
        {"feature_loss": "crd"},
        {"feature_loss": "at"},
        {"feature_weight": 0},
        {"schedule": "linear"},
        {"schedule": "step"},
        {"milestones": [4, 2]},
        {"milestones": [6]},
        {"milestones": "2,4"},
        {"gamma": 0},
        {"precision": "fp16"},
        {"augmentation": "cutout"},
        {"mixup": -1},
        {"mixup": 1e308},  # whose share would be drawn for ever
        {"cutmix": 101},
        {"teacher_checkpoint": "nowhere", "kd_weight": 1.0, "kd": "dkd", "cutmix": 1.0},
        {"freeze_batch_norm": 1},
        {"ema_decay": 1.0},
        {"kd_weight": 1.0},
        {"init": "teacher"},
        {"dataset": "cifar"},
        {"dataset": "emoji-faces"},
        {"epochs": 3},
        {"device": "cuda:99"},
        {"teacher_checkpoint": "nowhere"},
    ],
)
def test_settings_are_checked(values, tmp_path):
    with pytest.raises(ValueError):
        next(distill(DistillConfig.from_dict(small().to_dict() | values), tmp_path))


def test_a_refused_setting_can_be_named_and_written_otherwise():
    with pytest.raises(SettingError) as caught:
        small(milestones=[4, 2])
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error).startswith("milestones is [4, 2]; expected rising whole numbers from 1 to")
    assert error.say({"milestones": "{Falls}"}, str).startswith("{Falls} is [4, 2]; expected")


def test_rows_of_an_epoch_are_its_own_shuffle_drawn_once(monkeypatch):
    drawn = []
    randperm = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *args, **kwargs: drawn.append(args) or randperm(*args, **kwargs))
    rows = [batch_rows(1001, 100, step, seed=3) for step in range(20)]
    assert len(drawn) == 2
    for epoch in range(2):
        order = randperm(1001, generator=torch.Generator().manual_seed(3 * 7919 + epoch))
        assert torch.equal(torch.cat(rows[10 * epoch : 10 * epoch + 10]), order[:1000])


def test_learning_rate_follows_its_schedule():
    config = small(steps=100, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert max(rates) == rates[24] == 1.0 and rates[0] == 1 / 25 and rates[-1] < 0.001
    steps = replace(config, schedule="step", milestones=[50, 80], gamma=0.5)
    assert [learning_rate(steps, step) for step in (0, 49, 50, 79, 80, 99)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert DistillConfig.from_dict(json.loads(json.dumps(steps.to_dict()))) == steps
    constant = replace(config, schedule="constant", warmup_steps=10)
    assert [learning_rate(constant, step) for step in (0, 9, 99)] == [0.1, 1.0, 1.0]


def test_average_moves_parameters_and_statistics_and_copies_counters():
    torch.manual_seed(0)
    config = student()
    averaged, model = build_reference(config), build_reference(config)
    before = averaged.fc.weight.clone()
    model.bn1.running_mean.fill_(3)
    model.bn1.num_batches_tracked.fill_(7)
    update_average(averaged, model, decay=0.9, step=10**6)
    torch.testing.assert_close(averaged.fc.weight, 0.9 * before + 0.1 * model.fc.weight)
    torch.testing.assert_close(averaged.bn1.running_mean, torch.full_like(model.bn1.running_mean, 0.3))
    assert averaged.bn1.num_batches_tracked == 7


def test_the_status_goes_on_when_the_clock_jumps_back_and_the_rate_counts_pictures(tmp_path, monkeypatch):
    now = itertools.count(10**9, -3600)
    monkeypatch.setattr("redistill.training.loop.time.time", lambda: next(now))
    ticks = itertools.count(0, 2)
    monkeypatch.setattr("redistill.training.loop.time.monotonic", lambda: next(ticks))
    clock = itertools.count()  # a second between two looks
    monkeypatch.setattr("redistill.training.loop.time.perf_counter", lambda: next(clock))
    for record in distill(small(steps=3, validate_every=3, train_limit=12, batch_size=16), tmp_path):
        if record["kind"] == "step":
            assert read_json(tmp_path / "status.json")["step"] == record["step"]
            assert record["images_per_second"] == 12 and record.get("images_a_step", 12) == 12
            assert ("images_a_step" in record) == (record["step"] == 1)
