"""The curve: every result at its own memory and score, which ones a line joins, and what is in sight."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from helpers.made import FACES, RED_KD, TEACHER, result

from app.compare.curve import count_outside, curve_figure
from app.compare.ways import METHODS, STRIDES, SYMBOLS, kind_of, method_of
from app.parts import plots
from app.runs.result import READY
from redistill.networks.alignment import RULES

BARE = dataclasses.replace(RED_KD.student, red=None)
KD = dataclasses.replace(RED_KD, red_weight=0.0, student=BARE)
WARM = dataclasses.replace(KD, kd_weight=0.0)
FRESH = dataclasses.replace(WARM, init="scratch", teacher_checkpoint=None)


def ready(key, peak, score, config=KD, kind="", seeds=(0.0,), **changes):
    scores = tuple(score + shift for shift in seeds)
    found = result(key, peak, sum(scores) / len(scores), config)
    return dataclasses.replace(
        found, key=f"study:{key}", origin=READY, scores=scores, kind=kind, seeds=tuple(range(len(seeds))), **changes
    )


def marks(figure) -> dict[str, tuple[float, float, str, float]]:
    """Where every result stands, its symbol and its size, by its key."""
    found = {}
    for part in figure["data"]:
        if "customdata" in part:
            size = part["marker"]["size"]
            for key, x, y, symbol in zip(
                part["customdata"], part["x"], part["y"], part["marker"]["symbol"], strict=True
            ):
                assert key not in found, "nothing stands twice"
                found[key] = (x, y, symbol, size)
    return found


def lines(figure) -> dict[str, tuple[list[float], list[float]]]:
    return {part["name"]: (part["x"], part["y"]) for part in figure["data"] if "line" in part and part["x"]}


MANY = [
    ready("teacher", 327680, 0.95, TEACHER),
    *(ready(f"at {i}", 65536, 0.8 + i / 1000) for i in range(30)),
    *(ready(f"red {i}", 65537, 0.8 + i / 1000, RED_KD) for i in range(3)),
    ready("image", 65536, 0.82, kind="smaller images", title="Narrow ResNet 32 px, KD"),
    ready("weak", 65536, 0.3),
]


@pytest.mark.parametrize("ticked", [(), ("study:at 3", "study:image")])
@pytest.mark.parametrize("peaks", [(None, None), (60000, 70000)])
def test_every_result_stands_at_its_own_memory_and_score(ticked, peaks):
    figure = curve_figure(MANY, ticked, peaks)
    found = marks(figure)
    assert {key: (x, y) for key, (x, y, _, _) in found.items()} == {
        one.key: (math.log2(one.peak_bytes), one.score) for one in MANY
    }
    rings = [(part["x"], part["y"]) for part in figure["data"] if part.get("marker", {}).get("symbol") == "circle-open"]
    assert rings == [([found[key][0]], [found[key][1]]) for key in ticked]
    json.dumps(figure)  # plain values only


def test_a_line_joins_the_settings_of_one_way_to_learn_chosen_on_validation():
    def judged(key, peak, score, validation, config=KD):
        return dataclasses.replace(ready(key, peak, score, config), figures={"validation_accuracy": validation})

    shown = [
        judged("small", 2**15, 0.7, 0.71),
        judged("large", 2**17, 0.8, 0.81),
        judged("lucky", 2**16, 0.9, 0.6),  # the best on test pictures, yet nobody would have chosen it
        judged("red", 2**16, 0.75, 0.75, RED_KD),
        ready("teacher", 2**18, 0.95, TEACHER),
    ]
    figure = curve_figure(shown)
    assert lines(figure) == {"KD": ([15, 17], [0.7, 0.8]), "RED + KD": ([16], [0.75])}
    found = marks(figure)
    assert found["study:lucky"][3] < found["study:small"][3] and found["study:teacher"][2] == "diamond-tall"


def test_alternatives_have_one_line_a_kind_and_marks_of_their_own():
    kinds = list(SYMBOLS)[1:4]
    shown = [
        ready(f"{kind}{i}", 2 ** (15 + i), 0.6 + i / 10, config, kind)
        for kind in kinds
        for i, config in enumerate((KD, WARM))
    ]
    figure = curve_figure(shown)
    assert lines(figure) == {kind: ([15, 16], [0.6, 0.7]) for kind in kinds}
    assert {symbol for _, _, symbol, _ in marks(figure).values()} == {SYMBOLS[kind] for kind in kinds}


def test_bars_reach_from_the_worst_to_the_best_seed_and_one_seed_has_none():
    shown = [ready("three", 2**16, 0.8, seeds=(-0.03, 0.0, 0.06)), ready("one", 2**17, 0.9)]
    (part,) = [part for part in curve_figure(shown)["data"] if "customdata" in part]
    assert part["error_y"]["array"] == pytest.approx([0.05, 0]) and part["error_y"]["arrayminus"] == pytest.approx(
        [0.04, 0]
    )
    assert "seeds 0, 1, 2" in part["text"][0] and "77.0 to 86.0 %" in part["text"][0]
    assert "error_y" not in next(part for part in curve_figure(shown[1:])["data"] if "customdata" in part)


def test_one_seed_of_a_setting_gives_way_to_the_mean_of_several():
    several = ready("study", 2**16, 0.8, seeds=(-0.01, 0.01))
    shipped = dataclasses.replace(ready("lucky seed", 2**16, 0.85), key="shipped:student")
    assert lines(curve_figure([shipped, several]))["KD"] == ([16], [pytest.approx(0.8)])


def test_what_is_not_tested_is_hollow_and_on_no_line():
    shown = [
        ready("tested", 2**16, 0.8),
        result("running", 2**15, 0.9, KD, is_tested=False),
        result("new", 2**15, None, KD),
    ]
    figure = curve_figure(shown)
    assert marks(figure)["running"][2] == "square-open" and "new" not in marks(figure)
    assert lines(figure)["KD"] == ([16], [0.8])


@pytest.mark.parametrize(("config", "weak", "sign"), [(KD, 0.2, 1), (FACES, 0.9, -1)])
def test_weak_own_runs_do_not_stretch_the_axis_but_are_counted(config, weak, sign):
    usual = 0.9 if sign > 0 else 0.12
    shown = [ready(f"ready{i}", 65536, usual + i / 100, config) for i in range(3)]
    own = dataclasses.replace(result("own", 32768, weak, config), key="run:own")
    best = dataclasses.replace(result("best", 32768, usual + sign * 0.05, config), key="run:best")
    figure = curve_figure([*shown, own, best])
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < best.score < high and not low < weak < high
    assert count_outside(figure) == 1 and count_outside(curve_figure([own])) == 0
    assert count_outside(curve_figure([*shown, own], scores=(0.0, 1.0))) == 0


def test_a_zoom_gives_the_ends_of_both_axes_and_names_bytes_on_them():
    figure = curve_figure(MANY, peaks=(2**16, 2**17), scores=(0.7, None))
    assert figure["layout"]["xaxis"]["range"] == [16, 17] and figure["layout"]["yaxis"]["range"][0] == 0.7
    for least, most in ((2**14, 2**20), (2**16, 2**17), (60000, 70000), (65000, 65600)):
        axis = curve_figure(MANY, peaks=(least, most))["layout"]["xaxis"]
        assert 3 <= len(axis["tickvals"]) <= 14, (least, most)
        assert all(math.log2(least) <= tick <= math.log2(most) for tick in axis["tickvals"])


@pytest.mark.parametrize("shown", [[], [result("u", 64, None, KD)]])
def test_without_scores_there_is_an_empty_figure(shown):
    assert curve_figure(shown)["data"] == []


def test_ways_to_learn_are_told_apart():
    blocks = dataclasses.replace(WARM, student=RED_KD.student)
    for config, name in (
        (TEACHER, "teacher"),
        (FRESH, "from scratch"),
        (WARM, "teacher’s weights"),
        (blocks, "RED blocks"),
        (dataclasses.replace(RED_KD, kd_weight=0.0), "RED"),
        (KD, "KD"),
        (RED_KD, "RED + KD"),
        (dataclasses.replace(RED_KD, student=dataclasses.replace(RED_KD.student, alignment=RULES[1])), "RED + KD"),
        (dataclasses.replace(KD, student=RED_KD.student), "others"),  # blocks, and KD alone
        (dataclasses.replace(blocks, init="scratch", teacher_checkpoint=None), "others"),
        (dataclasses.replace(KD, feature_loss="at"), "others"),
    ):
        assert method_of(ready("x", 64, 0.5, config)) == name
    other = dataclasses.replace(KD, student=dataclasses.replace(BARE, architecture="mobilenet_v2"))
    assert kind_of(ready("x", 64, 0.5, other)) == "other networks" and kind_of(ready("x", 64, 0.5)) == STRIDES
    assert kind_of(ready("x", 64, 0.5, kind="odd")) in SYMBOLS
    assert len(set(METHODS.values())) == len(METHODS) and len(set(SYMBOLS.values())) == len(SYMBOLS)


@pytest.mark.parametrize("paper", ["#ffffff", "#131923"], ids=["light", "dark"])
def test_marks_stand_out_from_the_paper_in_both_themes(paper):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in [*METHODS.values(), plots.GREY]:
        if colour.startswith("#"):
            high, low = sorted((light(colour), light(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, colour
    assert all(part.get("opacity", 1) == 1 for part in curve_figure(MANY)["data"])
