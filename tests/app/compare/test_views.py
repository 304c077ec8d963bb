"""One memory result by result, and what each part adds."""

from __future__ import annotations

import dataclasses
import json

import pytest
from helpers.made import FACES, RED_KD, TEACHER, result

from app.compare.curve import curve_figure
from app.compare.dots import dot_groups, dots_figure, figure_columns
from app.compare.drawn import figures_of, judged_by
from app.compare.ladder import STEPS, choose_ladder, find_ladders, ladder_figure, step_of
from app.compare.view import ladder_text
from app.compare.ways import hover_text, score_text
from app.runs.result import READY
from redistill.networks.alignment import RULES
from redistill.networks.red import REDConfig

BARE = dataclasses.replace(RED_KD.student, red=None)
KD = dataclasses.replace(RED_KD, red_weight=0.0, student=BARE)
WARM = dataclasses.replace(KD, kd_weight=0.0)
FRESH = dataclasses.replace(WARM, init="scratch", teacher_checkpoint=None)
NO_GATE = dataclasses.replace(RED_KD.student, red=REDConfig(gate=False))
BLOCKS = dataclasses.replace(RED_KD, red_weight=0.0, kd_weight=0.0)
RED = dataclasses.replace(RED_KD, kd_weight=0.0)
PLACES = dataclasses.replace(RED_KD, student=dataclasses.replace(RED_KD.student, alignment=RULES[1]))
WAY = dict(zip(STEPS.values(), (FRESH, WARM, BLOCKS, RED, RED_KD, PLACES), strict=True))


def ready(key, scores, config, peak=65536, **changes):
    found = result(key, peak, sum(scores) / len(scores), config)
    values = {"key": f"study:{key}", "title": f"Student, {key}", "origin": READY, "scores": tuple(scores)}
    return dataclasses.replace(found, seeds=tuple(range(len(scores))), **values | changes)


def way(**changes):
    """A result of three seeds for each step, each step 0.01 better than the one before."""
    return [
        ready(name, [0.5 + i / 100 + shift for shift in (-0.004, 0.0, 0.004)], config, figures={"parameters": 1000 + i})
        for i, (name, config) in enumerate((WAY | changes).items())
        if config
    ]


def dots(figure):
    return {
        (key, x)
        for part in figure["data"]
        if "customdata" in part
        for key, x in zip(part["customdata"], part["x"], strict=True)
    }


def test_every_seed_of_one_memory_is_a_dot_at_its_score_in_the_row_of_its_result():
    shown = [*way(), ready("other memory", [0.9], RED_KD, 2**17), result("new", 65536, None)]
    figure = dots_figure(shown, 65536, ("study:KD",), teacher=ready("teacher", [0.6], TEACHER, 2**18))
    assert dots(figure) == {(one.key, score) for one in way() for score in one.scores}
    heights = {}
    for part in figure["data"]:
        for key, y in zip(part.get("customdata", ()), part["y"], strict=False):
            assert heights.setdefault(key, y) == y and y == int(y)
    assert len(set(heights.values())) == len(heights), "a row each"
    (means,) = [part for part in figure["data"] if "customdata" not in part]
    assert sorted(means["x"]) == pytest.approx([one.score for one in way()])
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < 0.496 and high > 0.6, "the teacher's line is in sight"
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [0, 0.6]
    assert [part["x"] for part in figure["layout"]["annotations"] if part["text"] == "teacher"] == [0.6]
    json.dumps(figure)


def test_rows_are_sorted_and_grouped_by_place_and_batch():
    shown = [
        ready("KD", [0.7], KD),
        ready("RED + KD", [0.8], RED_KD),
        ready("KD, batch 64", [0.9], dataclasses.replace(KD, batch_size=64)),
        ready("image", [0.75], KD, kind="smaller images", title="Narrow ResNet 32 px, KD"),
    ]
    assert [(title, [one.key for one in own]) for title, own in dot_groups(shown, 65536)] == [
        ("Strides 4·1·2·2·1, batch 64", ["study:KD, batch 64"]),
        ("Strides 4·1·2·2·1, batch 128", ["study:RED + KD", "study:KD"]),
        ("Narrow ResNet 32 px", ["study:image"]),
    ]
    assert dots_figure(shown, 1) is None and dots_figure([], None) is None


def test_on_a_phone_nothing_is_said_of_figures_that_nobody_knows():
    figure = dots_figure([ready("KD", [0.7], KD, figures={"macs": 12_800_000})], 65536)
    assert "12.8 M MACs" in [part["text"] for part in figure["narrow"]["annotations"]]


def test_parameters_and_macs_are_columns_and_words_on_a_phone():
    (one,) = [ready("KD", [0.7], KD, figures={"parameters": 1500, "macs": 12_800_000})]
    columns = figure_columns([one])
    assert {name: write(one) for name, write in columns.items()} == {
        "accuracy": "70.0 %",
        "parameters": "1.5 k",
        "MACs": "12.8 M",
    }
    figure = dots_figure([one], 65536, teacher=one)
    for layout in (figure["layout"], figure["narrow"]):
        assert "teacher" in [part["text"] for part in layout["annotations"]], "what the dashed line is"
        texts = " ".join(part["text"] for part in layout["annotations"])
        assert "12.8 M" in texts and "70.0 %" in texts and "KD" in texts
    drawn = ready("draws", [0.12], FACES, figures={"quality": {"kid": 0.5, "fid": 19.4, "recall": 0.6}})
    assert list(figure_columns([drawn])) == ["loss", "KID", "FID", "recall", "parameters", "MACs"]


QUALITY = {"kid": 0.5, "recall": 0.6, "margins": {"kid": 0.06}}


def drawn_results():
    """Two networks that draw, of which the one with the worse loss has the better KID and the lower recall, and one
    whose pictures nobody judged."""
    first = ready("first", [0.12], FACES, figures={"quality": QUALITY, "test_prediction_loss": 0.12})
    quality = {"kid": 0.4, "recall": 0.5}
    second = ready("second", [0.13], FACES, figures={"quality": quality, "test_prediction_loss": 0.13})
    return [first, second, ready("third", [0.11], FACES)]


@pytest.mark.parametrize(
    ("name", "order", "axis"),
    [
        ("", ["third", "first", "second"], "Test loss (lower is better)"),
        ("kid", ["second", "first"], "KID (lower is better)"),
        ("recall", ["first", "second"], "Recall"),
    ],
)
def test_networks_that_draw_are_judged_by_what_is_chosen(name, order, axis):
    found = judged_by(drawn_results(), name)
    (group,) = dot_groups(found, 65536)
    assert [one.title.removeprefix("Student, ") for one in group[1]] == order
    curve = curve_figure(found)
    assert curve["layout"]["yaxis"]["title"]["text"] == axis
    assert figures_of(drawn_results()) == ["", "kid", "recall"] and figures_of([found[2]]) == [""]
    columns = figure_columns(group[1])
    head = next(iter(columns))
    assert head == axis.partition(" (")[0].removeprefix("Test ") or head == "recall"
    assert [column for column in columns if column in ("loss", "KID", "recall")].count("loss") == 1


def test_a_figure_with_a_margin_has_its_interval_as_a_bar_and_in_words():
    first, second, _ = judged_by(drawn_results(), "kid")
    assert first.range == pytest.approx((0.44, 0.56)) and second.range == (0.4, 0.4)
    assert score_text(first) == "0.500 ± 0.060" and "95 % interval 0.44 to 0.56" in " ".join(hover_text(first))
    dots = next(part for part in dots_figure([first, second], 65536)["data"] if "customdata" in part)
    assert dots["error_x"]["array"] == pytest.approx([0.0, 0.06])


def test_the_steps_are_the_parts_of_the_method_in_their_order():
    (ladder,) = find_ladders(way())
    assert [name for name, _ in ladder.steps] == list(STEPS.values())
    figure = ladder_figure(ladder)
    marks = next(part for part in figure["data"] if "customdata" in part)
    assert marks["x"] == list(range(6)) and marks["y"] == pytest.approx([one.score for one in way()])
    assert marks["error_y"]["array"] == pytest.approx([0.004] * 6)
    assert [part["text"] for part in figure["layout"]["annotations"]] == ["50.0 %", *["+1.0"] * 5]
    assert [part["yanchor"] for part in figure["layout"]["annotations"]] == ["top", *["bottom"] * 5], (
        "clear of the line"
    )
    assert [text.rpartition("<br>")[2] for text in figure["layout"]["xaxis"]["ticktext"]] == ["1 k"] * 6
    assert "parameters" in figure["layout"]["xaxis"]["title"]["text"]
    on_a_phone = [line for text in figure["narrow"]["xaxis"]["ticktext"] for line in text.split("<br>")]
    assert max(map(len, on_a_phone)) <= len("teacher’s") < max(map(len, figure["layout"]["xaxis"]["ticktext"]))
    json.dumps(figure)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("RED loss", dataclasses.replace(RED, red_weight=5.0)),
        ("KD", dataclasses.replace(RED_KD, temperature=2.0)),
        (
            "RED blocks",
            dataclasses.replace(BLOCKS, student=dataclasses.replace(RED_KD.student, red=REDConfig(gate=False))),
        ),
        ("teacher’s weights", dataclasses.replace(WARM, steps=9)),
        ("teacher’s weights", dataclasses.replace(WARM, batch_size=9)),
        ("from scratch", dataclasses.replace(FRESH, student=dataclasses.replace(BARE, strides={"conv1": 8}))),
    ],
)
def test_a_step_differs_from_the_others_in_nothing_but_its_part(name, config):
    (ladder, *_) = find_ladders(way(**{name: config}))
    assert len(ladder.steps) == 5
    names = " + ".join(dict(ladder.steps)).split(" + ")
    assert len(names) <= 6 and ladder_text(ladder)


@pytest.mark.parametrize(
    "config",
    [
        TEACHER,
        KD,
        dataclasses.replace(RED_KD, init="scratch"),
        dataclasses.replace(RED_KD, feature_loss="at"),
        dataclasses.replace(BLOCKS, init="scratch", teacher_checkpoint=None),
        dataclasses.replace(KD, student=RED_KD.student),
    ],
)
def test_what_is_no_part_of_the_way_is_no_step(config):
    assert step_of(result("x", 64, 0.5, config)) is None
    assert step_of(dataclasses.replace(result("x", 64, 0.5, RED_KD), kind="patches")) is None
    assert step_of(result("x", 64, 0.5, RED_KD, is_tested=False)) is None


def test_a_step_that_is_not_known_is_left_out_and_the_next_one_counts_from_the_last_known():
    (ladder,) = find_ladders(way(**{"RED blocks": None}))
    texts = [part["text"] for part in ladder_figure(ladder)["layout"]["annotations"]]
    assert texts == ["50.0 %", "+1.0", "+2.0", "+1.0", "+1.0"]
    assert [name for name, _ in ladder.steps][2] == "RED blocks + RED loss", "what nobody tried alone is in its name"
    assert find_ladders(way()[:1]) == [] and find_ladders([]) == []


def test_words_say_what_a_part_costs_and_what_may_be_chance():
    (ladder,) = find_ladders(way())
    assert "chance" not in ladder_text(ladder) and ladder_text(ladder).count("1 more parameters") == 5
    close = [dataclasses.replace(one, scores=(one.score - 0.02, one.score + 0.02)) for one in way()]
    assert ladder_text(find_ladders(close)[0]).count("seeds differ as much") == 5
    single = [dataclasses.replace(one, scores=(one.score,)) for one in way()]
    assert ladder_text(find_ladders(single)[0]).count("one seed") == 5


def test_the_ticked_result_then_the_memory_chooses_the_way_that_is_shown():
    def moved(one, stem, peak):
        student = dataclasses.replace(one.config.student, strides={**BARE.strides, "conv1": stem})
        config = dataclasses.replace(one.config, student=student)
        return dataclasses.replace(one, key=f"{one.key}-{stem}", config=config, peak_bytes=peak)

    ladders = find_ladders([*way(), *(moved(one, 8, 2**15) for one in way()[:3])])
    assert len(ladders) == 2 and choose_ladder(ladders, None, ()) is ladders[0]
    assert choose_ladder(ladders, 2**15, ()) is ladders[1]
    assert choose_ladder(ladders, 2**15, ("study:KD",)) is ladders[0]
    assert choose_ladder([], 1, ()) is None
