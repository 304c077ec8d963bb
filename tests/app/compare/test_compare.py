"""Tab Compare: its headline, what is ticked, what two results differ in, the clock, and what comes from outside."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
from helpers.forms import read_form, sent
from helpers.made import FACES, RED_KD, TEACHER, result, write_checkpoint, write_run

from app.compare import handlers as compare
from app.compare import view as compare_view
from app.compare.curve import curve_figure
from app.compare.dots import dots_figure
from app.compare.page import FIELDS
from app.compare.result_table import MEANS
from app.compare.ways import teacher_of
from app.distill import handlers as distill
from app.distill import run_form
from app.runs.result import READY
from redistill.training.presets import CLUTTER_TEACHER

HOSTILE = [None, [], {}, "", "<script>", -1, math.nan, {"a": {"b": []}}]


@pytest.fixture
def some(places):
    """A shipped teacher, a finished and a stopped student of it, and a run that draws."""
    write_checkpoint(places / "shipped" / CLUTTER_TEACHER, TEACHER, test_accuracy=0.982, parameters=9)
    for name, config, metrics in (
        ("good", RED_KD, {"test_accuracy": 0.93, "validation_accuracy": 0.94, "seconds": 60}),
        (
            "bad",
            dataclasses.replace(RED_KD, kd_weight=0.0, seed=3),
            {"test_accuracy": 0.9, "validation_accuracy": 0.91, "seconds": 50},
        ),
        ("faces", FACES, {"test_prediction_loss": 0.128}),
    ):
        write_run(places, name, config, "finished")
        write_checkpoint(places / "runs" / name / "student", config, **metrics)
    write_run(places, "half", RED_KD, "stopped", {"kind": "validation", "step": 1, "accuracy": 0.1})
    return places


def clicked(**values):
    return SimpleNamespace(_data=values)


def ready(key, peak, score, validation=None, config=RED_KD, **changes):
    found = dataclasses.replace(result(key, peak, score, config), key=f"study:{key}", origin=READY, title=key)
    figures = {} if validation is None else {"validation_accuracy": validation}
    return dataclasses.replace(found, figures=figures, **changes)


def seeds_of(found, *scores):
    return dataclasses.replace(found, score=sum(scores) / len(scores), scores=scores, seeds=tuple(range(len(scores))))


def headline_of(shown):
    teacher = teacher_of(shown)
    return compare_view.headline(shown, compare_view.headline_result(shown, teacher), teacher, len(shown))


def test_the_headline_is_a_mean_on_test_of_the_setting_chosen_on_validation():
    shown = [
        ready("teacher", 327680, 0.98, 0.98, TEACHER),
        seeds_of(ready("Steady, KD", 65536, 0, 0.9), 0.88, 0.9, 0.92),
        seeds_of(ready("lucky on test", 65536, 0, 0.8, dataclasses.replace(RED_KD, kd_weight=0.1)), 0.95, 0.97),
        ready("one seed, lucky on both", 65536, 0.99, 0.99, dataclasses.replace(RED_KD, kd_weight=0.3)),
        seeds_of(ready("large", 163840, 0, 0.99, dataclasses.replace(RED_KD, steps=9)), 0.97, 0.98),
    ]
    said = headline_of(shown)
    for part in (
        "64.0 KiB",
        "90.0 % ± 2.0",
        "mean of 3 seeds",
        "88.0 to 92.0 %",
        "320 KiB",
        "5.0×",
        "98.0 %",
        "best of 3",
    ):
        assert part in said
    assert "validation" in said
    one = ready("one", 65536, 0.9, 0.9)
    assert "one seed" in headline_of([shown[0], one]) and "±" not in headline_of([shown[0], one])


@pytest.mark.parametrize(
    ("peaks", "named"),
    [
        ((53248, 65536), "64.0 KiB"),
        ((100000, 150000), "146 KiB"),
        ((163841, 200000), "195 KiB"),
        ((327680,), "320 KiB"),
    ],
)
def test_the_headline_looks_within_a_quarter_of_the_teachers_memory_then_a_half_then_anywhere(peaks, named):
    shown = [ready("teacher", 327680, 0.98, 0.98, TEACHER)]
    shown += [ready(str(peak), peak, 0.5 + peak / 1e6, 0.5 + peak / 1e6) for peak in peaks]
    assert f"A peak of <strong>{named}</strong>" in headline_of(shown)


def test_the_tab_shows_the_group_with_the_most_results(some):
    shown = compare.refresh(group="emoji-clutter")
    assert shown["group"]["choices"] == [(name, name) for name in ("emoji-clutter", "emoji-faces, v-prediction")]
    assert "No result ticked" in shown["card"] and shown["load"]["interactive"] is False
    assert compare.refresh(group="<gone>")["group"]["value"] == "emoji-clutter"
    assert shown["link"] == "on=emoji-clutter" and shown["curve"]["zooms"]


def test_without_results_the_page_says_what_to_do(places):
    shown = compare.refresh()
    assert "Nothing to compare yet" in shown["said"] and shown["group"]["choices"] == [] and shown["dots"] is None


def test_a_filter_that_leaves_nothing_says_so_and_saves_no_empty_file(some):
    shown = compare.refresh(group="emoji-clutter", words="zzzz")
    count = len([result for result in compare.all_results() if result.group == "emoji-clutter"])
    assert f"None of the {count} results here is in sight" in shown["said"] and count > 1
    for ending in ("csv", "tex", "md"):
        saved = compare.save(clicked(save=ending), group="emoji-clutter", words="zzzz")
        assert saved.keys() == {"said"} and "nothing to save" in saved["said"]


def test_marks_and_rows_tick_results_and_two_are_compared(some):
    fields = {"group": "emoji-clutter"}
    shown = compare.pick(clicked(mark="run:good"), **fields)
    assert shown["ticked"] == ("run:good",) and shown["load"]["interactive"] and shown["memory"] == 65536
    assert "93.0 %" in shown["card"] and "KD 0.2 (temperature 4)" in shown["card"] and "5.0×" in shown["card"]
    assert "Tick another result" in shown["differs"]
    shown = compare.tick(clicked(ticked=["run:good", "run:bad"]), **fields)
    for label in ("Test accuracy", "KD weight", "Seed", "Training time"):
        assert f">{label}</th>" in shown["differs"]
    for same in ("RED weight", "Strides", "Peak activation memory", "Batch"):
        assert f">{same}</th>" not in shown["differs"]
    assert shown["differs"].index("93.0 %") < shown["differs"].index("90.0 %")
    assert {row["key"]: row["chosen"] for row in shown["table"]["parts"][""]} == {
        "run:good": True, "run:bad": True, "run:half": False, f"shipped:{CLUTTER_TEACHER}": False,
    }  # fmt: skip
    shown = compare.pick(clicked(mark="run:half"), **fields, ticked=shown["ticked"])
    assert shown["ticked"] == ("run:bad", "run:half"), "the one ticked longest makes room"
    assert compare.pick(clicked(mark="run:half"), **fields, ticked=shown["ticked"])["ticked"] == ("run:bad",)
    assert compare.untick(**fields, ticked=shown["ticked"])["ticked"] == ()
    assert compare.show_group(group="emoji-faces, v-prediction", words="")["ticked"] == ()


def test_filter_zoom_and_selection_govern_all_views(some):
    fields = {"group": "emoji-clutter", "words": "BAD own", "ticked": ["run:good", "run:bad"]}
    shown = compare.refresh(**fields)
    assert [row["key"] for row in shown["table"]["parts"][""]] == ["run:bad"]
    assert keys_of(shown["curve"]) == keys_of(shown["dots"]) == {"run:bad"} and "90.0 %" in shown["said"]
    assert shown["ticked"] == ("run:good", "run:bad"), "in sight or not"
    shown = compare.zoom(clicked(x=[15.9, 16.1], y=[0.85, 0.91]), group="emoji-clutter")
    assert shown["peaks"].count("-") == 1 and shown["scores"]["value"] == "85-91"
    assert [row["key"] for row in shown["table"]["parts"][""]] == ["run:bad"] and keys_of(shown["dots"]) == {"run:bad"}
    assert shown["curve"]["layout"]["yaxis"]["range"] == [0.85, 0.91]
    assert compare.zoom(clicked(), group="emoji-clutter", peaks="1-2")["peaks"] == ""
    again = compare.show_all(group="emoji-clutter", words="bad", peaks="1-2", scores="3")
    assert len(again["table"]["parts"][""]) == 4 and again["link"] == "on=emoji-clutter"


def keys_of(figure) -> set[str]:
    return {key for part in figure["data"] for key in part.get("customdata", ())}


@pytest.mark.parametrize(("field", "other"), [("peaks", "scores"), ("scores", "peaks")])
def test_ends_that_cannot_be_read_are_refused_at_their_field_and_leave_nothing_out(some, field, other):
    given = {"group": "emoji-clutter", field: "abc"}
    for shown in (
        compare.refresh(**given),
        compare.untick(**given),
        compare.choose_memory(memories=None, **given),
    ):
        assert "field-refusal" in shown[f"{field}_said"] and "abc" in shown[f"{field}_said"]
        assert shown[f"{other}_said"] == "" and "headline" in shown["said"] and "notice" not in shown["said"]
        assert len(shown["table"]["parts"][""]) == 4
    assert compare.refresh(**given | {field: "1-2"})[f"{field}_said"] == ""
    for shown in (compare.show_all(**given), compare.zoom(clicked(), **given)):
        assert shown[f"{field}_said"] == "" and "notice" not in shown["said"], "another value stands there"


def test_an_address_opened_elsewhere_shows_the_same(some):
    asked = {
        "group": "emoji-clutter",
        "words": "own run",
        "peaks": "60-100",
        "scores": "85-99",
        "ticked": ["run:bad", "run:good"],
    }
    shown = compare.refresh(**asked, memory=65536)
    opened = compare.open_tab(f"#compare?{shown['link']}")
    assert opened.items() >= {name: value for name, value in shown.items() if name != "seen"}.items()
    assert (opened["words"], opened["peaks"], opened["scores"]["value"]) == ("own run", "60-100", "85-99")
    elsewhere = compare.open_query("on=emoji-clutter&tick=run:elsewhere&tick=run:good")
    assert "run:elsewhere" in elsewhere["said"] and elsewhere["ticked"] == ("run:good",)
    assert "notice" in compare.open_query("on=emoji-clutter&colour=red")["said"]
    assert "notice" not in compare.open_tab("#compare", group="emoji-clutter")["said"]


def test_a_click_that_comes_before_the_last_one_is_done_loses_nothing(some):
    """A mark is clicked while another is on its way: the page still says that nothing is ticked."""
    shown = compare.pick(clicked(mark="run:bad"), group="emoji-clutter")
    shown = compare.look(shown["seen"], group="emoji-clutter", ticked=("run:good", "run:bad"), memory=65536)
    assert ">Test accuracy</th>" in shown["differs"]
    fields = {"group": "emoji-clutter", "ticked": ("run:good", "run:bad"), "memory": 65536}
    assert compare.look(shown["seen"], **fields) == {}


def test_a_result_of_several_seeds_names_them_all():
    mean, one = seeds_of(ready("study", 65536, 0), 0.92, 0.93, 0.94), ready("one", 65536, 0.9)
    assert "seeds 0, 1, 2." in compare_view.chosen_card(mean) and "seed 0." in compare_view.chosen_card(one)
    differs = compare_view.difference([mean, one])
    assert "<td>0, 1, 2</td><td>0</td>" in differs and "<td>93.0 % ± 1.0</td>" in differs and MEANS in differs
    assert MEANS not in compare_view.difference([one, dataclasses.replace(one, key="two")])


def test_names_in_the_texts_are_escaped():
    named = dataclasses.replace(result("x", 65536, 0.9), title="<b>x</b>, <b>y</b>")
    other = dataclasses.replace(named, key="y", score=0.8)
    texts = [compare_view.chosen_card(named), compare_view.difference([named, other])]
    texts.append(compare_view.headline([named], named, None, 1))
    for text in texts:
        assert "<b>x" not in text and "<b>y" not in text and "&lt;b&gt;" in text
    figures = [curve_figure([named]), dots_figure([named], 65536)]
    for figure in figures:
        assert "<b>x" not in str(figure) and "<b>y" not in str(figure)


def test_no_table_has_an_empty_head():
    one, other = ready("one", 65536, 0.9), ready("two", 65536, 0.8)
    assert "<th></th>" not in compare_view.difference([one, other])


def test_the_clock_redraws_only_what_changed(some):
    seen = compare.refresh(group="emoji-clutter")["seen"]
    assert compare.look(seen, group="emoji-clutter") == {}
    assert compare.look(None, group="emoji-clutter") == {}
    metrics = some / "runs" / "half" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"kind": "validation", "step": 2, "accuracy": 0.4}\n')
    shown = compare.look(seen, group="emoji-clutter")
    assert (0.4, "(40.0 %)") in [row["cells"][1] for row in shown["table"]["parts"][""]]
    assert not {"words", "peaks", "scores"} & shown.keys(), "what is being typed stays"


def test_the_settings_of_a_result_fill_the_form(some):
    config = compare.chosen_config(("run:good", "run:bad"))
    form = sent(distill.take_config(config))
    assert (form["seed"], form["kd_weight"], form["teacher_checkpoint"]) == (3, 0.0, CLUTTER_TEACHER)
    assert read_form(form).to_dict() == config
    assert "notice" in distill.take_config(compare.chosen_config(("run:gone",)))["refusal"]


def test_settings_of_a_run_on_another_machine_get_a_device_of_this_one(some, monkeypatch):
    for gpus, asked, given in (
        (0, "cuda:0", "cpu"),
        (0, "cuda", "cpu"),
        (2, "cuda", "cuda:0"),
        (1, "cuda:3", "cuda:0"),
    ):
        monkeypatch.setattr(run_form.torch.cuda, "device_count", lambda gpus=gpus: gpus)
        config = compare.chosen_config(("run:bad",)) | {"device": asked}
        assert distill.take_config(config)["device"] == given


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_no_value_from_outside_breaks_compare(some, value):
    fields = dict.fromkeys(FIELDS, value)
    shown = compare.refresh(**fields)
    assert shown.keys() == {"said"} or shown["group"]["value"] == "emoji-clutter"
    assert compare.open_tab(value).keys() >= {"said", "curve", "table"}
    assert compare.choose_memory(value)["memory"] is None or isinstance(value, int)
    for event in (compare.pick, compare.tick, compare.zoom, compare.save):
        assert event(clicked(mark=value, ticked=value, x=value, y=value, save=value))
        assert event(SimpleNamespace(_data=value))
    assert compare.open_link(clicked(query=value)) and compare.open_link(SimpleNamespace(_data=value))
    assert compare.look(value, group=value).keys() in (shown.keys(), set()) or value is not None
    assert compare.chosen_config(value) is None


def test_what_networks_that_draw_are_judged_by_is_chosen_and_stays_in_the_address():
    """Of the networks that ship, whose cards have the figures."""
    group = "emoji-faces, v-prediction"
    shown = compare.show_by(group=group, by="kid", scores="0.1-0.2")
    assert shown["scores"]["value"] == "" and shown["scores"]["label"] == "KID" and "by=kid" in shown["link"]
    assert shown["by"]["value"] == "kid" and shown["by"]["visible"] and "KID (lower is better)" in shown["said"]
    again = compare.open_query(shown["link"])
    assert again["curve"] == shown["curve"] and shown["curve"]["layout"]["yaxis"]["title"]["text"].startswith("KID")
    assert shown["table"] == compare.refresh(group=group)["table"], "which has all figures whatever they are judged by"
    assert not compare.refresh(group="imagenette", by="kid")["by"]["visible"]
    assert compare.refresh(group="imagenette", by="kid")["by"]["value"] == ""
    assert "by is" in compare.open_query("by=beauty")["said"]
