"""Live accuracy: what is said of strides with weights for all of them, what is measured, the front, what is saved."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import gradio as gr
import pytest
import safetensors.torch
import torch
from helpers.explore import EARLY, USUAL

from app.explore import accuracy_front, accuracy_panel, search_panel
from app.explore.link import from_query, parse_query
from app.runs import choices, run_list
from app.runs.results import all_results
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint import sources
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.data.datasets import load_split
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training import shared_weights
from redistill.training.presets import PRESETS
from redistill.training.shared_weights import measure, open_shared
from redistill.training.stride_store import Measured, key_of, write_figures

NAME = "any-strides"
SMALL = USUAL | {"image_size": 32, "with_red": False}


@pytest.fixture
def weights(places, monkeypatch):
    """An untrained network for every budget among those that ship, of 32 px, and eight pictures of each split."""
    return save_untrained(places, monkeypatch, StudentConfig("narrow_resnet", 32, 50, red=None))


@pytest.fixture
def with_blocks(places, monkeypatch):
    """Such a network with RED blocks."""
    return save_untrained(places, monkeypatch, StudentConfig("narrow_resnet", 32, 50, EARLY, alignment="stage-wise"))


def save_untrained(places, monkeypatch, student: StudentConfig) -> str:
    config = PRESETS["any-strides"].config
    config = replace(config, student=student, teacher_checkpoint=None, init="scratch", kd_weight=0.0)
    torch.manual_seed(0)
    metadata = Metadata(config.student, config.dataset, {"step": 5}, config.to_dict())
    checkpoint.save(build_student(config.student), metadata, sources.SHIPPED / NAME)
    monkeypatch.setenv("REDISTILL_CACHE", str(places / "cache"))
    monkeypatch.setattr(shared_weights, "load_split", lambda n, s, z, limit, seed: load_split(n, s, z, 8, seed))
    return NAME


def gone(*arguments, **named):
    raise ValueError("there are no pictures")


def words(shown: dict) -> str:
    return re.sub("<.*?>", "", shown["accuracy"])


def test_what_is_not_known_is_marked_then_measured_then_known_at_once(weights, monkeypatch):
    assert "Measuring" in words(accuracy_panel.tell(weights, **SMALL))
    assert accuracy_panel.measure_shown(weights, **SMALL) == {}
    monkeypatch.setattr(shared_weights, "load_split", gone)  # what is known is not measured again
    found = accuracy_panel.tell(weights, **SMALL)
    known = measure(open_shared(weights), EARLY, 8)
    figures = (f"{100 * share:.1f} %" for share in (known.accuracy, *known.interval))
    for part in (*figures, "16.0 KiB", f"of {known.count}", "emoji-clutter"):
        assert part in words(found)
    assert accuracy_panel.measure_shown(weights, **SMALL) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"with_red": True}, "no RED blocks"),
        ({"picker": EARLY | {"conv1": 2}}, "not trained for these strides"),
        ({"picker": EARLY | {"conv1": 64}}, "reduce the image"),
        ({"picker": "nothing"}, "Strides must map"),
        ({"teacher": "resnet18"}, "a Narrow ResNet’s, its first convolution as built, for images of 32 px: show"),
        ({"image_size": 64}, "a Narrow ResNet’s, its first convolution as built, for images of 32 px: show"),
        ({"stem": "wide"}, "a Narrow ResNet’s, its first convolution as built, for images of 32 px: show"),
        ({"accounting": 7}, "accounting"),
    ],
)
def test_what_does_not_fit_is_said(weights, changes, said):
    assert said in words(accuracy_panel.tell(weights, **SMALL | changes))


def test_blocks_of_the_weights_count_whatever_the_page_shows(with_blocks):
    """Their peak is that of `compare`, and a row of the front opens them."""
    candidate = open_shared(with_blocks).space.smallest
    shown = SMALL | {"picker": candidate.strides}
    peak = f"{candidate.peak_bytes / 2**10:.1f} KiB"
    for changes, is_said in (
        ({"with_red": False}, True),
        ({"with_red": True}, True),
        ({"with_red": True, "alignment": "stage-wise", "gate": False}, True),
        ({"with_red": True, "alignment": "stage-wise"}, False),
    ):
        told = accuracy_panel.tell(with_blocks, **shown | changes)["accuracy"]
        said = re.sub("<.*?>", "", told)
        assert peak in said and ("RED blocks of their own" in said) is is_said, changes
        for query in re.findall(r'href="\?([^#]*)#explore"', told):
            student = from_query(parse_query(query.replace("&amp;", "&"))).student
            assert (student.red, student.alignment, dict(student.strides)) == (
                REDConfig(),
                "stage-wise",
                shown["picker"],
            )
    last = found_front(with_blocks)["front"]
    assert "with its RED blocks" in last and last.count("<circle") == len(open_shared(with_blocks).space.candidates)
    for query in re.findall(r'data-query="([^"]*)"', last):
        student = from_query(parse_query(query.replace("&amp;", "&"))).student
        assert (student.red, student.alignment) == (REDConfig(), "stage-wise")


@pytest.mark.parametrize("value", ["../../etc", "run:nothing", 7, ["none"]])
def test_weights_that_are_not_there_are_refused(weights, value):
    assert "No checkpoint" in words(accuracy_panel.tell(value, **SMALL))
    assert accuracy_panel.measure_shown(value, **SMALL) == {}
    assert "No checkpoint" in accuracy_panel.save(value, **SMALL)["saved"]


def test_without_weights_or_pictures_there_is_a_sentence(weights, monkeypatch):
    for value in ("none", None, ""):
        assert "One network for every budget" in words(accuracy_panel.tell(value, **SMALL))
        assert accuracy_panel.measure_shown(value, **SMALL) == {}
    monkeypatch.setattr(shared_weights, "load_split", gone)
    failed = accuracy_panel.measure_shown(weights, **SMALL)["failed"]
    shown = accuracy_panel.tell(weights, failed, **SMALL)
    assert "Not measured" in shown["accuracy"] and "no pictures" in shown["accuracy"] and shown["failed"] is None
    others = accuracy_panel.tell(weights, failed, **SMALL | {"picker": EARLY | {"conv1": 2}})
    assert "Measuring" in others["accuracy"], "what failed was not of these strides"


def test_weights_are_offered_and_stay_chosen_where_they_exist(weights):
    assert accuracy_panel.offer(None)["weights"].value == weights
    assert accuracy_panel.offer("none")["weights"].value == "none"
    assert accuracy_panel.offer("run:gone")["weights"].value == weights
    teaches = choices.teaches(StudentConfig("narrow_resnet", 32, 50, red=None), "emoji-clutter")
    assert not teaches(read_metadata(weights))  # a compromise between all strides is no teacher


def test_a_saved_student_is_a_finished_run_with_its_test_accuracy(weights):
    measure(open_shared(weights), EARLY, 8)
    assert "Distill and Compare" in accuracy_panel.save(weights, **SMALL)["saved"]
    (run,) = run_list.list_runs()
    assert (run.state, run.step) == ("finished", 5)
    metadata = read_metadata(run.path / "student")
    assert metadata.student == StudentConfig("narrow_resnet", 32, 50, EARLY, red=None)
    (result,) = [one for one in all_results() if one.origin == "own run"]
    assert result.is_tested and result.peak_bytes == 16 * 2**10
    assert checkpoint.load(run.path / "student") and not shared_weights.is_shared(metadata)
    assert [record["kind"] for record in run_list.records(run)] == ["validation", "final"]
    assert "Already saved" in accuracy_panel.save(weights, **SMALL)["saved"]  # the same weights twice are one result
    assert [one.name for one in run_list.list_runs()] == [run.name]
    file = sources.SHIPPED / NAME / "model.safetensors"
    safetensors.torch.save_file({name: 2 * value for name, value in safetensors.torch.load_file(file).items()}, file)
    assert "Already" not in accuracy_panel.save(weights, **SMALL)["saved"]  # others under the same name


def test_a_student_that_cannot_be_saved_leaves_nothing(weights, monkeypatch):
    monkeypatch.setattr(shared_weights, "load_split", gone)
    assert "Not saved" in accuracy_panel.save(weights, **SMALL)["saved"]
    assert run_list.list_runs() == []


def rows(shown: str) -> list[list[str]]:
    found = re.findall("<tr data-act.*?</tr>", shown)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall("<td>(.*?)</td>", row)] for row in found]


def found_front(weights, budget=512.0, **controls) -> dict:
    wish = {"search_budget": budget, "search_reduction": "same", "search_red": True}
    *_, last = search_panel.find(weights, **wish | SMALL | controls)
    return last


def test_search_draws_the_front_of_measured_accuracy(weights):
    shared = open_shared(weights)
    candidates = shared.space.candidates
    right = {key_of(one.strides): (7 * place) % 97 for place, one in enumerate(candidates)}
    figures = {key_of(one.strides): Measured(one.strides, right[key_of(one.strides)], 100) for one in candidates}
    write_figures(shared.folder, shared.fingerprint, figures)
    shown = found_front(weights)
    assert shown["search"].interactive is True and shown["front"].count("<circle") == len(candidates)
    best = 0
    for strides, peak, _, accuracy, _ in (found := rows(shown["front"])):
        fitting = [right[key_of(one.strides)] for one in candidates if one.peak_bytes <= float(peak.split()[0]) * 2**10]
        assert float(accuracy.split()[0]) == right[strides.replace("·", "-")] == max(fitting) > best
        best = max(fitting)
    assert len(found) > 2
    query = from_query(parse_query(re.findall(r'data-query="([^"]*)"', shown["front"])[0].replace("&amp;", "&")))
    assert query.student.red is None
    tight = found_front(weights, budget=candidates[0].peak_bytes / 2**10)["front"]
    assert found[0][0] in re.findall('class="best">.*?</tr>', tight)[0]
    assert "None of" in found_front(weights, budget=1)["front"]
    both = found_front(weights, budget=14, search_patches=True)["front"]  # which nobody measures
    assert "<circle" in both and "Patches add" in both and "patch=" in both
    assert "Patches add" not in shown["front"] and "no others were searched" not in shown["front"]
    assert "red=on" not in both
    assert "no others were searched" in found_front(weights, search_reduction="any")["front"]
    saved = search_panel.save(weights, search_budget=512, search_reduction="any", search_red=True, **SMALL)
    lines = list(csv.DictReader(io.StringIO(saved["search_files"]["text"])))
    own = {row[0].replace("·", "-"): row for row in found}
    told = {"-".join(line[name] for name in EARLY): line for line in lines}
    assert {key for key, line in told.items() if line["best"] == "yes"} == own.keys() and len(told) > len(candidates)
    for key, line in told.items():
        assert line["peak_bytes"] == line["peak_bytes_without_red"], "as the weights have none"
        assert (line["right"], line["pictures"]) == ((str(right[key]), "100") if key in right else ("", ""))
    for key, (_, needs, _, accuracy, _) in own.items():
        assert int(told[key]["needed_bytes"]) == float(needs.split()[0]) * 2**10
        assert float(told[key]["accuracy"]) == pytest.approx(float(accuracy.split()[0]) / 100)


def test_search_measures_what_is_not_known_and_says_how_far_it_is(weights, monkeypatch):
    few = replace(open_shared(weights).space, candidates=open_shared(weights).space.candidates[:3])
    monkeypatch.setattr(shared_weights, "vector_space", lambda student: few)
    *waiting, last = search_panel.find(weights, search_budget=9, search_reduction="same", search_red=True, **SMALL)
    assert [re.search(r"(\d+) of 3", shown["front"])[1] for shown in waiting] == ["0", "1", "2"]
    assert last["front"].count("<circle") == 3
    assert list(accuracy_front.fill(open_shared(weights), 8)) == []


@pytest.mark.parametrize("value", ["none", "gone"])
def test_search_without_weights_is_that_of_macs_or_a_sentence(weights, value):
    (shown,) = search_panel.find(value, search_budget=64, search_reduction="same", search_red=True, **SMALL)
    assert ("MACs" in shown["front"]) == (value == "none")
    assert isinstance(shown["search"], gr.Button)
