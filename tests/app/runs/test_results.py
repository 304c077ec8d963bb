"""What Compare shows: results from runs, checkpoints and the study; the Pareto front; the settings in words."""

from __future__ import annotations

import dataclasses
import json

import pytest
from helpers.made import FACES, RED_KD, TEACHER, result, write_checkpoint, write_run

from app.compare.files import file_name
from app.compare.ways import each_setting
from app.distill.watch_view import find_baseline
from app.runs import results, run_list
from app.runs.result import OWN, READY, SHARED, groups, over_seeds, pareto_front, peak_bytes
from app.runs.studies import SHARED_FILE, shared_results, study_results
from app.words import settings as wording
from benchmarks.accuracy import _row
from redistill.checkpoint.metadata import Metadata
from redistill.memory import capture
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training.presets import PRESETS
from redistill.training.run_state import best_validation


def test_the_front_holds_what_no_other_one_beats():
    small, beaten, large, same = (
        result("s", 64, 0.9),
        result("b", 64, 0.8),
        result("l", 320, 0.98),
        result("e", 64, 0.9),
    )
    too_large, untested = result("t", 640, 0.98), result("u", 32, 0.99, is_tested=False)
    assert pareto_front([beaten, large, small, too_large, untested, same]) == [small, large]
    assert pareto_front([]) == []


def test_the_front_is_chosen_on_validation_pictures_where_all_have_a_figure_there():
    lucky, steady = (
        dataclasses.replace(result(key, 64, score), figures={"validation_accuracy": validation})
        for key, score, validation in (("lucky", 0.95, 0.8), ("steady", 0.9, 0.9))
    )
    assert pareto_front([lucky, steady]) == [steady]
    assert pareto_front([lucky, steady, result("none", 64, 0.7)]) == [lucky]


def test_runs_that_differ_in_their_seed_alone_are_one_result(places):
    for name, seed, accuracy in (("c", 2, 0.90), ("b", 1, 0.94), ("a", 0, 0.92)):
        config = dataclasses.replace(RED_KD, seed=seed, device="cpu")
        write_run(places, name, config, "finished")
        metrics = {"test_accuracy": accuracy, "validation_accuracy": accuracy - 0.01}
        write_checkpoint(places / "runs" / name / "student", config, **metrics)
    other = dataclasses.replace(RED_KD, seed=3, kd_weight=0.5)
    write_run(places, "other", other, "finished")
    write_checkpoint(places / "runs" / "other" / "student", other, test_accuracy=0.5)
    write_run(places, "going", dataclasses.replace(RED_KD, seed=4), "stopped")
    found = {entry.title: entry for entry in results.all_results()}
    (joined,) = [entry for title, entry in found.items() if "seeds 0, 1, 2" in title]
    assert len(found) == 3 and joined.seeds == (0, 1, 2) and joined.scores == (0.92, 0.94, 0.90)
    assert joined.score == pytest.approx(0.92) and joined.spread == pytest.approx(0.02)
    assert joined.validation == pytest.approx(0.91) and joined.range == (0.90, 0.94)


def test_for_diffusion_the_lower_loss_is_better():
    good, bad, large = result("g", 256, 0.1, FACES), result("b", 256, 0.2, FACES), result("l", 1024, 0.08, FACES)
    assert pareto_front([bad, large, good]) == [good, large]
    assert good.group == "emoji-faces, v-prediction"


def test_results_come_from_runs_and_checkpoints(places):
    write_checkpoint(places / "shipped" / "emoji-clutter-teacher", TEACHER, test_accuracy=0.982, parameters=9)
    figures = [{"kind": "validation", "step": step, "accuracy": a} for step, a in ((1, 0.2), (2, 0.6), (3, 0.5))]
    write_run(places, "one", RED_KD, "stopped", *figures)
    write_run(places, "two", FACES, "finished")
    write_checkpoint(places / "runs" / "two" / "student", FACES, test_prediction_loss=0.128)
    write_run(places, "new", RED_KD, "stopped")
    broken = places / "runs" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"student": 3}')
    found = {entry.key: entry for entry in results.all_results()}
    assert set(found) == {"run:one", "run:two", "run:new", "shipped:emoji-clutter-teacher"}
    one, two, teacher = found["run:one"], found["run:two"], found["shipped:emoji-clutter-teacher"]
    assert (one.score, one.is_tested, one.state, one.origin) == (0.6, False, "stopped", OWN)
    assert (two.score, two.is_tested) == (0.128, True)
    assert (teacher.score, teacher.is_teacher, teacher.origin) == (0.982, True, READY)
    assert found["run:new"].score is None and not one.is_teacher
    drawing = capture(build_student(FACES.student), (1, 3, 32, 32)).profile().peak_bytes
    assert (one.peak_bytes, two.peak_bytes, teacher.peak_bytes) == (65536, drawing, 327680)
    assert groups(list(found.values())) == [(name, name) for name in ("emoji-clutter", "emoji-faces, v-prediction")]
    assert best_validation(run_list.read_run("new").path, "accuracy") is None


@pytest.mark.parametrize("red", [None, REDConfig()])
def test_a_student_of_another_architecture_has_its_own_peak(red):
    student = StudentConfig("resnet18", 64, num_classes=50, architecture="mobilenet_v2", red=red)
    measured = capture(build_student(student), (1, 3, 64, 64)).profile().peak_bytes
    assert peak_bytes(student) == measured
    assert not result("x", measured, 0.5, dataclasses.replace(TEACHER, student=student)).is_teacher


def test_a_network_for_every_budget_is_nobody_s_teacher_at_the_strides_that_it_has():
    """It learnt from one, for longer; beside a student it would be told as what that one had to reach."""
    found = result("any", 1000, 0.8, PRESETS["any-strides"].config)
    assert found.has_own_strides and not found.is_teacher
    assert result("teacher", 1000, 0.8, TEACHER).is_teacher


def test_rows_of_the_study_are_results(places, tmp_path):
    runs = []
    for seed, accuracy in ((0, 0.92), (1, 0.94)):
        config = dataclasses.replace(RED_KD, seed=seed)
        metrics = {"test_accuracy": accuracy, "parameters": 383106, "seconds": 600.0, "device": "CPU"}
        runs.append(Metadata(config.student, config.dataset, metrics, config.to_dict()))
    rows = [_row("4", "red+kd", runs), _row(None, "teacher", runs[:1]), {"method": "cut"}, 7]
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "study.json").write_text(json.dumps(rows))
    (found,) = results.all_results()
    assert (found.key, found.title, found.origin) == ("study:4-red+kd", "Student at stride 4, RED + KD", READY)
    assert (found.score, found.spread, found.seeds) == (pytest.approx(0.93), pytest.approx(0.01), (0, 1))
    assert found.config == RED_KD and found.peak_bytes == 65536 and found.figures["parameters"] == 383106
    assert study_results(tmp_path / "nowhere.json") == []
    (tmp_path / "bad.json").write_text("{")
    assert study_results(tmp_path / "bad.json") == []


def tradeoff_row(config, accuracy, **changes):
    name = f"4-1-2-2-1-red+kd-{config.seed}"
    row = {"name": name, "strides": [4, 1, 2, 2, 1], "part": "curve", "method": "red+kd", "seed": config.seed}
    row |= {"peak_bytes": 65536, "state": "finished", "test_accuracy": accuracy, "parameters": 9, "seconds": 5.0}
    return row | {"config": config.to_dict()} | changes


def test_runs_of_the_trade_off_are_results_over_their_seeds(places):
    config = dataclasses.replace(RED_KD, dataset="cifar10", student=dataclasses.replace(RED_KD.student, num_classes=10))
    second = dataclasses.replace(config, seed=1)
    other = dataclasses.replace(
        config,
        init="scratch",
        teacher_checkpoint=None,
        red_weight=0.0,
        kd_weight=0.0,
        student=dataclasses.replace(config.student, strides={}, red=None, architecture="file:alternatives.py:side_32"),
    )
    named = {
        "network": "narrow_resnet 32 px",
        "method": "scratch",
        "strides": [],
        "name": "narrow_resnet-32-px-scratch-0",
    }
    teacher = dataclasses.replace(other, student=dataclasses.replace(other.student, architecture=None))
    rows = [
        tradeoff_row(config, 0.70),
        tradeoff_row(second, 0.74),
        tradeoff_row(other, 0.6, **named),
        tradeoff_row(teacher, 0.8, method="teacher", name="teacher-0"),
        tradeoff_row(teacher, 0.8, method="teacher", name="patches-0", network="in 3×3 patches", kind="patches"),
        tradeoff_row(config, None, name="cut-0"),
        tradeoff_row(config, 0.9, name="failed-0", state="failed"),
        {"name": "odd", "state": "finished", "test_accuracy": 1.0},
        7,
    ]
    shipped = places / "shipped"
    shipped.mkdir()
    (shipped / "photographs.json").write_text(json.dumps(rows))
    student, alternative, own, patches = results.all_results()
    assert (student.key, student.title) == ("photographs:4-1-2-2-1-red+kd", "Student 4·1·2·2·1, RED + KD")
    assert (student.score, student.spread, student.seeds) == (pytest.approx(0.72), pytest.approx(0.02), (0, 1))
    assert student.figures["parameters"] == 9 and student.peak_bytes == 65536 and student.origin == READY
    assert alternative.title == "Narrow ResNet 32 px, no distillation, from scratch" and alternative.is_other_network
    assert own.is_teacher and not student.is_other_network
    assert patches.title == "Teacher in 3×3 patches" and patches.kind == "patches" and not patches.is_teacher
    assert groups([student, alternative]) == [("cifar10 (photographs)", "cifar10")]

    write_checkpoint(shipped / "cifar10-teacher", teacher, test_accuracy=0.8)
    assert [result.key for result in results.all_results() if result.is_teacher] == ["shipped:cifar10-teacher"]


def test_a_network_in_patches_is_no_baseline_of_a_run(places):
    """It is the one without patches once more."""
    bare = dataclasses.replace(RED_KD.student, red=None)
    alone = dataclasses.replace(
        RED_KD, student=bare, teacher_checkpoint=None, init="scratch", red_weight=0.0, kd_weight=0.0
    )
    patched = {"name": "patches-none-0", "method": "none", "network": "in 2×2 patches", "kind": "patches"}
    rows = [tradeoff_row(alone, 0.7, **patched), tradeoff_row(alone, 0.7, method="scratch")]
    (places / "shipped").mkdir()
    (places / "shipped" / "photographs.json").write_text(json.dumps(rows))
    assert find_baseline(RED_KD).title == "Student 4·1·2·2·1, no distillation, from scratch"


def test_shipped_photographs_stand_apart_from_scenes():
    found = [result for result in results.all_results() if result.origin == READY and result.is_classifier]
    photographs = [result for result in found if result.group == "imagenette"]
    assert {result.title for result in photographs} >= {"Student 4·1·2·1·2, RED + KD", "Student 8·1·1·1·2, KD"}
    assert len({result.key for result in found}) == len(found)
    assert sum(result.is_teacher for result in photographs) == 1
    scenes = {result.title: result for result in found if result.group == "emoji-clutter"}
    assert "Student 8·1·1·1·2, RED stage-wise + KD" in scenes
    both = [(result, scenes[result.title]) for result in photographs if result.title in scenes]
    assert both and all(photo.key != scene.key and photo.score != scene.score for photo, scene in both)


def test_figures_of_several_seeds_are_means_and_the_time_their_median():
    finals = [
        {"kind": "final", "validation_accuracy": score, "seconds": time, "parameters": 7, "measured_peak_bytes": size}
        for score, time, size in ((0.90, 600.0, 1000), (0.93, 4000.0, 1001), (0.96, 700.0, 1003))
    ]
    found = over_seeds(finals)
    assert found["validation_accuracy"] == pytest.approx(0.93) and found["seconds"] == 700.0
    assert (found["parameters"], found["kind"]) == (7, "final")
    assert found["measured_peak_bytes"] == 1001 and isinstance(found["measured_peak_bytes"], int)
    assert over_seeds(finals[:1]) == finals[0]


def test_uploads_are_called_as_on_distill_and_a_group_without_a_score_is_not_shown():
    config = dataclasses.replace(RED_KD, dataset="upload:my-pets-0123456789abcdef")
    (group,) = groups([result("a", 64, 0.9, config), result("b", 64, None, FACES)])
    assert group == ("my-pets (uploaded)", config.dataset)
    assert "images of my-pets (uploaded), from" in " ".join(wording.run_sentences(config, (0,)))
    assert wording.setting_rows(config.to_dict())["Pictures"] == "my-pets (uploaded)"
    drawing = dataclasses.replace(FACES, dataset="hub:me/pets")
    assert result("c", 64, 0.9, drawing).group_title == "me/pets (Hub), v-prediction"
    assert file_name([result("a", 64, 0.9, config)]) == "redistill-my-pets-uploaded"


def test_settings_in_words():
    sentences = " ".join(wording.run_sentences(RED_KD, (0, 1)))
    for part in (
        "strides 4·1·2·2·1, RED blocks",
        "RED 1 (cosine), KD 0.2 (temperature 4)",
        "660 steps of 128 images",
        "seeds 0, 1.",
    ):
        assert part in sentences
    assert "from the teacher’s weights" in sentences
    alone = " ".join(wording.run_sentences(dataclasses.replace(TEACHER, train_limit=500, optimizer="sgd"), (3,)))
    for part in ("pictures alone", "out of the first 500", "SGD", "own strides", "seed 3."):
        assert part in alone
    assert wording.learning_sources(dataclasses.replace(RED_KD, red_weight=0.0, feature_loss="at")) == (
        "KD + Attention transfer"
    )


def test_every_setting_has_a_row_and_odd_ones_are_shown():
    rows = wording.setting_rows(RED_KD.to_dict())
    assert (
        len(rows) == len(dataclasses.fields(RED_KD)) - 1 + len(dataclasses.fields(RED_KD.student)) - 1
    )  # neither the student itself nor its "unets"
    assert rows["Strides"] == "4·1·2·2·1" and rows["RED blocks"] == "as usual" and rows["Training images"] == "all"
    other = dataclasses.replace(RED_KD.student, red=REDConfig(gate=False))
    assert wording.setting_rows({"student": other.to_dict()})["RED blocks"] == "no gate"
    odd = wording.setting_rows({"student": {"red": {"colour": 3}}, "teacher_checkpoint": "/a/runs/x/student", "new": 5})
    assert odd["RED blocks"] == "{'colour': 3}" and odd["Teacher"] == "x" and odd["new"] == "5"


def test_figures_in_words():
    final = {"test_accuracy": 0.93, "parameters": 383106, "training_peak_bytes": 2**21, "device": "CPU", "seconds": 75}
    assert wording.figure_rows(final) == {
        "Test accuracy": "93.0 %",
        "Parameters": "383,106",
        "Measured peak while training": "2.00 MiB",
        "Training time": "1 min 15 s",
    }
    assert wording.figure_rows({"seconds": "long", "parameters": True}) == {}


def test_a_network_for_every_budget_stands_at_the_strides_that_validation_chooses(places, tmp_path):
    """Its own strides are the checkpoint's; what another choice beats on validation pictures is left out."""
    write_checkpoint(tmp_path / "shipped" / "any", PRESETS["any-strides"].config, test_accuracy=0.97)
    rows = [
        {"strides": strides, "peak_bytes": peak, "macs": 7, "validation_accuracy": known, "test_accuracy": test}
        for strides, peak, known, test in (
            ([8, 1, 1, 1, 2], 53248, 0.45, 0.44),
            ([4, 1, 2, 2, 1], 65536, 0.80, 0.83),
            ([4, 1, 2, 1, 2], 65536, 0.82, 0.81),
            ([1, 2, 2, 2, 2], 327680, 0.98, 0.97),
        )
    ]
    file = tmp_path / "shipped" / SHARED_FILE
    file.write_text(json.dumps({"any": {"rows": rows}, "gone": {"rows": rows}, "cut": 3}))
    found = {one.key: one for one in results.all_results()}
    assert list(found) == ["shipped:any", "shared:any-8-1-1-1-2", "shared:any-4-1-2-1-2"]
    one = found["shared:any-4-1-2-1-2"]
    assert (one.title, one.score, one.validation, one.macs) == ("any at 4·1·2·1·2, KD", 0.81, 0.82, 7)
    assert one.kind == SHARED and one.peak_bytes == peak_bytes(one.config.student) and one.group == "emoji-clutter"
    file.write_text(json.dumps({"any": {"rows": [{"strides": [4, 1]}, None, {**rows[0], "strides": [8]}, rows[1]]}}))
    assert [one.key for one in shared_results(file)] == ["shared:any-4-1-2-2-1"]
    assert shared_results(tmp_path / "nowhere.json") == []


def test_networks_for_every_budget_of_other_seeds_count_where_the_training_was_the_same(places, tmp_path):
    """Their validation figures where they have some; what was trained in another way stays out."""
    config = PRESETS["any-strides"].config
    strides = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
    config = dataclasses.replace(config, student=dataclasses.replace(config.student, strides=strides), seed=1)
    write_checkpoint(tmp_path / "shipped" / "any", config, test_accuracy=0.81)

    def held(seed, test, known, *more, **changes):
        row = {"strides": [4, 1, 2, 2, 1], "peak_bytes": 65536, "macs": 7}
        row |= {"validation_accuracy": known, "test_accuracy": test}
        return {"training": {"steps": 9, "seed": seed, "device": str(seed), **changes}, "rows": [None, row, *more]}

    networks = {
        "any": held(1, 0.81, 0.80),
        "seed 2": held(2, 0.83, None, {"strides": [8]}),
        "seed 0": held(0, 0.79, 0.84),
        "longer": held(3, 0.99, 0.99, steps=10),
        "damaged": {"training": 3},
    }
    file = tmp_path / "shipped" / SHARED_FILE
    file.write_text(json.dumps(networks))
    (one,) = shared_results(file)
    assert (one.seeds, one.scores, one.config.seed) == ((0, 1, 2), (0.79, 0.81, 0.83), 1)
    assert (one.score, one.validation) == (pytest.approx(0.81), pytest.approx(0.82))
    both = results.all_results()  # its own strides too, as the setting of which several seeds are known
    assert [other.key for other in both] == ["shipped:any", one.key] and [*map(len, (o.seeds for o in both))] == [1, 3]
    assert [other.key for other in each_setting(both)] == [one.key]
