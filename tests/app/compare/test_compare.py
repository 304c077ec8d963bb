"""Tab Compare: the plane, the chosen result, what two results differ in, the table and its CSV."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
from helpers.forms import read_form, sent
from helpers.made import FACES, RED_KD, TEACHER, result, write_checkpoint, write_run

from app.compare import page as compare
from app.compare import view as compare_view
from app.compare.plane import plane_figure
from app.compare.result_table import MEANS, result_rows
from app.distill import handlers as distill
from app.distill import run_form
from app.runs.results import READY
from app.words.settings import setting_rows
from redistill.training.presets import CLUTTER_TEACHER

HOSTILE = [None, [], {}, "", "<script>", -1, math.nan, {"a": {"b": []}}]


@pytest.fixture
def some(places):
    """A shipped teacher, a finished and a stopped student of it, and a run that draws."""
    write_checkpoint(places / "shipped" / CLUTTER_TEACHER, TEACHER, test_accuracy=0.982, parameters=9)
    for name, config, metrics in (
        ("good", RED_KD, {"test_accuracy": 0.93, "seconds": 60}),
        ("bad", dataclasses.replace(RED_KD, kd_weight=0.0, seed=3), {"test_accuracy": 0.9, "seconds": 50}),
        ("faces", FACES, {"test_prediction_loss": 0.128}),
    ):
        write_run(places, name, config, "finished")
        write_checkpoint(places / "runs" / name / "student", config, **metrics)
    write_run(places, "half", RED_KD, "stopped", {"kind": "validation", "step": 1, "accuracy": 0.1})
    return places


def clicked(**values):
    return SimpleNamespace(_data=values)


def marks(figure) -> dict:
    """Symbol and opacity of every mark that can be clicked, by its key."""
    found = {}
    for trace in figure["data"]:
        if "customdata" in trace:
            marker = trace["marker"]
            found |= dict(zip(trace["customdata"], zip(marker["symbol"], marker["opacity"], strict=True), strict=True))
    return found


def places_of(figure) -> dict[str, float]:
    """Where every mark that can be clicked stands on the axis of memory, by its key."""
    clickable = [trace for trace in figure["data"] if "customdata" in trace]
    return {key: x for trace in clickable for key, x in zip(trace["customdata"], trace["x"], strict=True)}


def test_the_plane_marks_front_teacher_and_what_is_not_tested():
    shown = [
        result("teacher", 327680, 0.98, TEACHER),
        result("best", 65536, 0.93),
        result("beaten", 65536, 0.91),
        result("running", 65536, 0.92, is_tested=False),
        result("far", 65536, 0.1, is_tested=False),
        result("new", 65536, None),
    ]
    figure = plane_figure(shown, selected="best", kept="teacher")
    found = marks(figure)
    assert set(found) == {"teacher", "best", "beaten", "running", "far"}
    assert found["teacher"] == ("diamond", 1.0) and found["best"] == ("circle", 1.0)
    assert found["beaten"][1] < 0.5 and found["running"] == ("circle-open", 1.0)
    assert found["far"] == ("triangle-down-open", 1.0)
    front = figure["data"][0]
    assert front["x"][:2] == [16.0, math.log2(327680)] and front["y"] == [0.93, 0.98, 0.98]
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.5 < low < 0.91 and high > 0.98
    ticks = dict(zip(figure["layout"]["xaxis"]["tickvals"], figure["layout"]["xaxis"]["ticktext"], strict=True))
    assert ticks == {16: "64.0 KiB", 17: "128 KiB", 18: "256 KiB"}
    rings = [trace for trace in figure["data"] if trace["marker" if "marker" in trace else "line"].get("size") == 21]
    assert [(ring["x"], ring["y"]) for ring in rings] == [([16.0], [0.93]), ([math.log2(327680)], [0.98])]


def test_results_of_one_memory_and_nearly_one_score_stand_side_by_side():
    scores = (0.9, 0.901, 0.902, 0.903, 0.93, 0.7)
    shown = [result(f"at {score}", 65536, score) for score in scores] + [result("smaller", 32768, 0.9)]
    figure = plane_figure(shown, selected="at 0.901")
    xs = places_of(figure)
    assert [xs[f"at {score}"] - 16 for score in scores] == pytest.approx([0, 0.07, -0.07, 0.14, 0, 0])
    assert xs["smaller"] == 15 and figure["data"][-1]["x"] == [xs["at 0.901"]], "the ring"
    shown.append(result("best", 65536, 0.9305))
    xs = places_of(plane_figure(shown))
    assert (xs["best"], xs["at 0.93"]) == (16, 16.07), "the front keeps its place"


def test_weak_own_runs_do_not_stretch_the_axis():
    ready = [dataclasses.replace(result(f"ready{score}", 65536, score), origin=READY) for score in (0.855, 0.9, 0.935)]
    own = [result("weak", 65536, 0.21), result("small", 32768, 0.23), result("best", 65536, 0.99)]
    figure = plane_figure([*ready, *own], selected="weak")
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.8 < low < 0.855 and 0.99 < high < 1.03
    found = marks(figure)
    assert found["weak"][0] == found["small"][0] == "triangle-down" and found["best"][0] == "circle"
    assert figure["data"][0]["y"] == [low, 0.99, 0.99], "the front’s own weak run as well"
    assert figure["data"][-1]["y"] == [low], "the ring"
    low, high = plane_figure(own)["layout"]["yaxis"]["range"]
    assert low < 0.21 and high > 0.99, "of one's own runs alone, all are in sight"


def test_for_losses_the_weak_end_is_the_upper_one():
    ready = [dataclasses.replace(result(f"ready{score}", 65536, score, FACES), origin=READY) for score in (0.12, 0.13)]
    figure = plane_figure([*ready, result("weak", 65536, 0.9, FACES), result("best", 65536, 0.1, FACES)])
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < 0.1 and 0.13 < high < 0.2 and marks(figure)["weak"][0] == "triangle-up"


def test_several_seeds_have_error_bars_and_an_empty_plane_is_drawn():
    mean = dataclasses.replace(result("study", 65536, 0.93), spread=0.01, seeds=(0, 1, 2))
    (trace,) = [trace for trace in plane_figure([mean])["data"] if "customdata" in trace]
    assert trace["error_y"]["array"] == [0.01]
    assert "93.0 % ± 1.0" in trace["text"][0] and "seeds 0, 1, 2" in trace["text"][0]
    assert plane_figure([])["data"] == []


def test_the_sentence_names_the_smallest_and_the_teacher(some):
    shown = compare.refresh("emoji-clutter", None, None)
    assert shown["group"].choices == [(name, name) for name in ("emoji-clutter", "emoji-faces, v-prediction")]
    for part in ("64.0 KiB", "93.0 %", "320 KiB", "5.0×", "98.2 %", "2 of 3 tested results"):
        assert part in shown["said"]
    assert "No result chosen" in shown["card"] and shown["load"].interactive is False
    assert compare.refresh("<gone>", None, None)["group"].value == "emoji-clutter"


def test_without_results_the_page_says_what_to_do(places):
    shown = compare.refresh(None, None, None)
    assert "Nothing to compare yet" in shown["said"] and shown["group"].choices == []


def test_a_point_and_a_row_choose_a_result_and_two_are_compared(some):
    shown = compare.pick(clicked(mark="run:good"), "emoji-clutter", None)
    assert shown["chosen"] == "run:good" and shown["load"].interactive
    assert "93.0 %" in shown["card"] and "KD 0.2 (temperature 4)" in shown["card"] and "5.0×" in shown["card"]
    shown = compare.keep_chosen("emoji-clutter", "run:good", None)
    assert shown["kept"] == "run:good" and "Choose another result" in shown["differs"]
    assert shown["keep"].value == "Stop comparing"
    differs = compare.pick(clicked(key="run:bad"), "emoji-clutter", "run:good")["differs"]
    for label in ("Test accuracy", "KD weight", "Seed", "Training time"):
        assert f">{label}</th>" in differs
    for same in ("RED weight", "Strides", "Peak activation memory", "Batch"):
        assert f">{same}</th>" not in differs
    assert differs.index("93.0 %") < differs.index("90.0 %")
    assert compare.keep_chosen("emoji-clutter", "run:bad", "run:good")["kept"] is None
    shown = compare.show_group("emoji-faces, v-prediction")
    assert shown["chosen"] is shown["kept"] is None


def test_a_click_that_comes_before_the_last_one_is_done_loses_nothing(some):
    """A row is clicked while "Compare with another" is on its way: the page still says that nothing is kept."""
    shown = compare.pick(clicked(key="run:bad"), "emoji-clutter", None)
    assert not shown["differs"]
    shown = compare.look("emoji-clutter", "run:bad", "run:good", shown["seen"])
    assert ">Test accuracy</th>" in shown["differs"] and shown["keep"].value == "Stop comparing"
    assert compare.look("emoji-clutter", "run:bad", "run:good", shown["seen"]) == {}


def test_a_result_of_several_seeds_names_them_all():
    mean = dataclasses.replace(result("study", 65536, 0.93), spread=0.01, seeds=(0, 1, 2))
    one = result("one", 65536, 0.9)
    assert "seeds 0, 1, 2." in compare_view.chosen_card(mean) and "seed 0." in compare_view.chosen_card(one)
    differs = compare_view.difference(mean, one)
    assert "<td>0, 1, 2</td><td>0</td>" in differs and MEANS in differs
    assert MEANS not in compare_view.difference(one, dataclasses.replace(one, key="two"))
    table = result_rows([mean, one], None)
    head, *lines = table["csv"]
    assert [line[head.index("Seed")] for line in lines] == ["0, 1, 2", "0"]
    assert table["note"] == MEANS and result_rows([one], None)["note"] == ""


def test_names_in_the_texts_are_escaped():
    named = dataclasses.replace(result("x", 65536, 0.9), title="<b>x</b>")
    other = dataclasses.replace(named, key="y", score=0.8)
    for text in (compare_view.chosen_card(named), compare_view.difference(named, other)):
        assert "<b>x" not in text and "&lt;b&gt;x" in text
    assert "<b>x</b>" not in str(plane_figure([named])["data"][1]["text"]).replace("<b>&lt;b&gt;x", "")


def test_the_clock_redraws_only_what_changed(some):
    seen = compare.refresh("emoji-clutter", None, None)["seen"]
    assert compare.look("emoji-clutter", None, None, seen) == {}
    assert compare.look("emoji-clutter", None, None, None) == {}
    metrics = some / "runs" / "half" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"kind": "validation", "step": 2, "accuracy": 0.4}\n')
    (rows,) = compare.look("emoji-clutter", None, None, seen)["table"]["parts"].values()
    assert (0.4, "(40.0 %)") in [row["cells"][1] for row in rows]


def test_the_settings_of_a_result_fill_the_form(some):
    config = compare.chosen_config("run:bad")
    form = sent(distill.take_config(config))
    assert (form["seed"], form["kd_weight"], form["teacher_checkpoint"]) == (3, 0.0, CLUTTER_TEACHER)
    assert read_form(form).to_dict() == config
    assert "notice" in distill.take_config(compare.chosen_config("run:gone"))["refusal"]


def test_settings_of_a_run_on_another_machine_get_a_device_of_this_one(some, monkeypatch):
    for gpus, asked, given in (
        (0, "cuda:0", "cpu"),
        (0, "cuda", "cpu"),
        (2, "cuda", "cuda:0"),
        (1, "cuda:3", "cuda:0"),
    ):
        monkeypatch.setattr(run_form.torch.cuda, "device_count", lambda gpus=gpus: gpus)
        config = compare.chosen_config("run:bad") | {"device": asked}
        assert distill.take_config(config)["device"] == given


def test_the_table_sorts_in_the_page_and_saves_every_setting(some):
    table = compare.refresh("emoji-clutter", "run:good", None)["table"]
    rows = {row["key"]: row for row in table["parts"][""]}
    assert rows["run:good"]["chosen"] and rows["run:good"]["kind"] == "best" and "kind" not in rows["run:bad"]
    assert rows["run:half"]["cells"][1][0] == 0.1 and "not tested yet" in rows["run:half"]["below"]
    head, *lines = table["csv"]
    good = dict(zip(head, lines[list(rows).index("run:good")], strict=True))
    assert (good["peak_bytes"], good["score"], good["tested"], good["KD weight"]) == (65536, 0.93, 1, 0.2)
    assert good["Steps"] == 660 and good["Rate is then multiplied by"] == 0.1, "numbers, not words"
    assert setting_rows(RED_KD.to_dict()).keys() <= good.keys()
    assert table["file"] == "redistill-emoji-clutter" and table["sorted_by"] == 1
    score = table["columns"][1]
    assert (score["title"], score["order"]) == ("Test accuracy", -1)
    losses = result_rows([result("loss", 65536, 0.1, FACES)], None)["columns"][1]
    assert (losses["title"], losses["order"]) == ("Test loss", 1)
    assert result_rows([], None)["parts"] == {"": []}


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_no_value_from_outside_breaks_compare(some, value):
    shown = compare.refresh(value, value, value)
    assert shown["group"].value == "emoji-clutter" and "No result chosen" in shown["card"]
    assert compare.look(value, value, value, value).keys() in (shown.keys(), set())
    assert {"chosen", *shown} == compare.pick(clicked(mark=value), value, value).keys()
    said = compare.pick(SimpleNamespace(_data=value), value, value)
    assert "notice" in said["said"] if not isinstance(value, dict) else {"chosen", *shown} == said.keys()
    assert {"kept", *shown} == compare.keep_chosen(value, value, value).keys()
    assert compare.chosen_config(value) is None


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([("tiny", 53248, 0.6), ("good", 65536, 0.93)], "64.0 KiB</strong> reaches <strong>93.0 %"),
        ([("tiny", 53248, 0.6), ("good", 65536, 0.93), ("large", 163841, 0.97)], "64.0 KiB</strong> reaches"),
        ([("large", 163841, 0.97)], "160 KiB</strong> reaches"),
    ],
)
def test_the_headline_names_the_best_network_in_half_the_memory_of_the_teacher(others, said):
    shown = [result("teacher", 327680, 0.98, TEACHER), *(result(*other) for other in others)]
    assert said in compare_view.headline(shown)
    assert "the teacher needs 320 KiB" in compare_view.headline(shown)


def test_other_networks_than_the_teachers_have_a_mark_of_their_own():
    other = dataclasses.replace(TEACHER, student=dataclasses.replace(TEACHER.student, architecture="mobilenet_v2"))
    ready = [
        dataclasses.replace(result(key, 64, 0.5, config), origin=READY) for key, config in (("o", other), ("r", RED_KD))
    ]
    found = marks(plane_figure(ready))
    assert found["o"][0] == "hexagon" and found["r"][0] == "square" and "hexagons" in compare_view.legend()
