"""Endpoints: every one answers its own example as plain JSON, and refuses in one sentence what does not fit."""

from __future__ import annotations

import base64
import inspect
import json
import zipfile
from io import BytesIO

import gradio as gr
import httpx
import pytest
from gradio_client.exceptions import AppError
from helpers.made import UNTRAINED
from PIL import Image

from app.api.endpoint import checked
from app.api.page import ENDPOINTS, PATH, example_of
from app.api.run_settings import read_settings
from app.distill import estimate_panel
from app.runs import choices, exports, jobs, run_list
from benchmarks.visitors import Visitor, usual_arguments
from redistill.memory.chips import room_on
from redistill.memory.comparison import compare, student_tape
from redistill.memory.search import search_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training.presets import PRESETS

NAMES = [function.__name__ for function in ENDPOINTS]
EARLY = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
COUNTING = ("profile", "memory", "alive")
ASKED_FOR = (
    "networks profile alive search estimate start status metrics stop resume delete "
    "results compare generate export push load"
)


def whole_bytes(answer) -> bool:
    """Whether every number of bytes in an answer is a whole one."""
    if isinstance(answer, dict):
        here = [value for name, value in answer.items() if name.endswith("bytes") and value is not None]
        return all(type(value) is int for value in here) and all(map(whole_bytes, answer.values()))
    return all(map(whole_bytes, answer)) if isinstance(answer, list) else True


@pytest.fixture
def still(monkeypatch):
    """Nothing trains, is measured or is exported, and runs stay: what each would do is noted."""
    done = []
    monkeypatch.setattr(estimate_panel, "measure", lambda config: iter([0.1, {"seconds": 1.5, "fits": True}]))
    monkeypatch.setattr("app.api.making.export_run", lambda run, kind: exports.Exported("one.onnx", b"onnx", ["made"]))

    monkeypatch.setattr("app.api.making.push_run", lambda run, repo, *settings: f"https://huggingface.co/{repo}")
    shipped = choices.checkpoints(lambda card: True)[0]
    monkeypatch.setattr("app.api.making.from_hub.take", lambda network, token: shipped)

    def noted(name):
        def act(*values):
            done.append((name, *values))
            return run_list.read_run("one")

        return act

    for name in ("start", "stop", "resume", "extend", "delete"):
        monkeypatch.setattr(jobs, name, noted(name))
    return done


@pytest.mark.parametrize("function", ENDPOINTS, ids=NAMES)
def test_an_example_runs_and_answers_plain_json(client, still, function):
    example = example_of(function)
    assert f'api_name="/{function.__name__}"' in example
    answer = eval(example, {"client": client, "run": "one"})
    assert isinstance(answer, dict) and json.loads(json.dumps(answer)) == answer and whole_bytes(answer)


def test_every_action_of_the_page_has_its_endpoint(client):
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(ASKED_FOR.split()) <= set(NAMES)
    assert {f"/{name}" for name in NAMES} == set(offered)
    for function in ENDPOINTS:
        told = offered[f"/{function.__name__}"]
        assert told["description"] and [part["parameter_name"] for part in told["parameters"]] == list(
            inspect.signature(function).parameters
        )
        assert all(part["type"] for part in told["parameters"])


def test_ranges_stand_in_the_schema(client):
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/profile"]["parameters"]
    kinds = {part["parameter_name"]: part["type"] for part in offered}
    assert (kinds["batch"]["minimum"], kinds["batch"]["maximum"]) == (1, 1024)
    assert "int8" in kinds["dtype"]["enum"] and kinds["strides"]["type"] == "object"


def test_figures_are_those_of_the_page(client):
    answer = client.predict("resnet18", EARLY, api_name="/profile")
    assert answer["teacher"]["peak_bytes"] == 4_014_080 and answer["student"]["peak_bytes"] == 802_816
    assert answer["strides"] == EARLY and answer["image_size"] == 224
    alive = client.predict("resnet18", EARLY, who="teacher", api_name="/alive")
    assert alive["live_bytes"] == sum(tensor["bytes"] for tensor in alive["tensors"]) == 4_014_080
    assert client.predict("resnet18", EARLY, api_name="/memory")["student"]["peak_bytes"] == 802_816


def test_a_search_says_what_fits_and_what_it_costs(client):
    answer = client.predict("resnet50", budget_bytes=2**20, dtype="int8", api_name="/search")
    best = answer["best"]
    assert best["peak_bytes"] <= 2**20 < answer["teacher"]["peak_bytes"] and 0 < best["macs_kept"] < 1
    again = client.predict("resnet50", best["strides"], dtype="int8", api_name="/profile")
    assert again["student"]["peak_bytes"] == best["peak_bytes"]
    assert client.predict("resnet50", budget_bytes=1, api_name="/search")["best"] is None


def test_a_search_for_a_chip_heeds_its_weights(client):
    small, large = (
        client.predict(network, chip="stm32h743", dtype="int8", api_name="/search")
        for network in ("timm:mobilenetv2_035", "resnet18")
    )
    room = room_on("stm32h743")
    assert small["budget_bytes"] == large["budget_bytes"] == room.activations
    best = small["best"]
    assert best["weights_fit"] and best["weight_file_bytes"] <= room.weights
    assert best["needed_bytes"] <= room.activations
    assert large["best"] is None and large["fitting"] == 0 and not large["teacher"]["weights_fit"]
    assert large["teacher"]["weight_file_bytes"] > room.weights


def test_a_stem_that_sees_more_is_counted_as_in_the_library(client):
    blur = {"stem": "blur"}
    told, peaks, alive = (client.predict("resnet18", EARLY, **blur, api_name=f"/{name}") for name in COUNTING)
    pair = compare(StudentConfig("resnet18", strides=EARLY, red=REDConfig(), **blur))
    assert told["student"]["peak_bytes"] == pair.student.peak_bytes == 752_640
    assert told["student"]["macs"] == pair.student.macs and told["teacher"]["peak_bytes"] == 4_014_080
    assert peaks["student"]["peak_bytes"] == alive["live_bytes"] == 752_640
    plain, other = (client.predict("resnet18", **stem, api_name="/search")["front"] for stem in ({}, blur))
    assert plain[0]["peak_bytes"] > other[0]["peak_bytes"]
    with pytest.raises(AppError, match="stem is 'narrow'; expected 'as built', 'wide'"):
        client.predict("resnet18", stem="narrow", api_name="/search")


def test_blocks_at_the_same_layers_are_counted_as_in_the_library(client):
    rule = {"alignment": "stage-wise"}
    told = client.predict("resnet18", EARLY, **rule, api_name="/profile")
    pair, usual = (compare(StudentConfig("resnet18", strides=EARLY, **where)) for where in (rule, {}))
    assert told["student"]["macs"] == pair.student.macs != usual.student.macs
    assert client.predict("resnet18", EARLY, **rule, api_name="/alive")["live_bytes"] == pair.student.peak_bytes
    found = search_strides(student_tape(pair.config), **rule)
    front = client.predict("resnet18", **rule, api_name="/search")["front"]
    assert [row["peak_bytes"] for row in front] == [one.peak_bytes for one in found.front]
    with pytest.raises(AppError, match="alignment is 'by size'; expected 'asynchronous' or 'stage-wise'"):
        client.predict("resnet18", alignment="by size", api_name="/search")


def test_files_come_whole(client):
    sizes = {"count": 2, "steps": 2, "first_seed": 3}
    grid = client.predict(["small"], **sizes, api_name="/generate")["files"][0]
    content = base64.b64decode(grid["base64"])
    assert len(content) == grid["bytes"] and Image.open(BytesIO(content)).size == (66, 32)  # two pixels apart
    packed = client.predict(["small"], **sizes, files_as="zip", api_name="/generate")["files"][0]
    with zipfile.ZipFile(BytesIO(base64.b64decode(packed["base64"]))) as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 3  # two images and the grid


def test_what_a_program_asks_for_reaches_the_runs(client, still):
    client.predict("one", steps=9, api_name="/resume")
    client.predict("quick", {"steps": 7}, api_name="/start")
    (extended, run, changes), (started, config, _) = still
    assert (extended, run, changes, started, config["steps"]) == ("extend", "one", {"steps": 9}, "start", 7)


def test_a_run_is_told_without_places(client, studio):
    told = client.predict("one", api_name="/status")
    assert told["state"] == "finished" and told["settings"]["steps"] == told["step"]
    records = client.predict("one", api_name="/metrics")["records"]
    later = client.predict("one", after=3, api_name="/metrics")["records"]
    assert records[-1]["kind"] == "final" and all(record["step"] > 3 for record in later) and len(later) < len(records)


REFUSED = {
    "batch": ("profile", ["resnet18"], {"batch": 10**9}, "1,024"),
    "truth for a number": ("profile", ["resnet18"], {"batch": True}, "batch is True; expected a whole number."),
    "three sides": ("profile", ["resnet18"], {"image_size": [8, 8, 8]}, "[8, 8, 8]; expected at most 2 entries."),
    "text for sides": ("profile", ["resnet18"], {"image_size": "8x8"}, "expected a whole number or a list."),
    "text for a side": ("profile", ["resnet18"], {"image_size": [64, "x"]}, "image_size.1 is 'x'; expected a whole"),
    "small side": ("profile", ["resnet18"], {"image_size": [64, 1]}, "image_size.1 is 1; expected at least 16."),
    "text for strides": ("profile", ["resnet18", {"conv1": "x"}], {}, "'x'; expected a whole number or a list."),
    "list for strides": ("profile", ["resnet18", [1]], {}, "strides is [1]; expected names with values."),
    "long name": ("profile", ["x" * 999], {}, "expected at most 120 characters."),
    "chip": ("search", ["resnet18"], {"chip": "stm32"}, "'stm32h743'"),
    "chip and budget": ("search", ["resnet18"], {"chip": "stm32h743", "budget_bytes": 9}, "give one of them"),
    "steps of many digits": ("start", ["quick", {"steps": 10**400}], {}, "steps is a number of 401 digits; expected"),
    "text for a number": ("profile", ["resnet18"], {"channels": "3"}, "channels"),
    "stride": ("profile", ["resnet18", {"conv1": 0}], {}, "strides.conv1"),
    "three strides": ("profile", ["resnet18", {"conv1": [1, 2, 3]}], {}, "[1, 2, 3]"),
    "layer": ("profile", ["resnet18", {"nowhere": 2}], {}, "nowhere"),
    "choice": ("search", ["resnet18"], {"dtype": "fp64"}, "'int8'"),
    "network": ("alive", ["resnet99"], {}, "resnet99"),
    "file": ("profile", ["file:/etc/passwd:run"], {}, "never opens"),
    "place of a layer": ("alive", ["resnet18"], {"layer": "nowhere"}, "nowhere"),
    "run": ("stop", ["../one"], {}, "../one"),
    "finished run": ("resume", ["one"], {}, "finished"),
    "result": ("compare", ["run:one", "run:two"], {}, "run:two"),
    "group": ("results", ["nothing"], {}, "emoji-clutter"),
    "setting": ("start", ["quick", {"stepss": 3}], {}, "'stepss'"),
    "student's setting": ("start", ["quick", {"student": {"teecher": "resnet18"}}], {}, "'teecher'"),
    "no settings": ("estimate", ["quick", {"student": 3}], {}, "student"),
    "folder of pictures": ("start", ["quick", {"dataset": "folder:/etc"}], {}, "upload"),
    "teacher in a folder": ("start", ["quick", {"teacher_checkpoint": "/etc"}], {}, "'/etc'"),
    "device": ("start", ["quick", {"device": "cuda:99"}], {}, "cuda:99"),
    "checkpoint": ("generate", [["nothing"]], {}, "small"),
    "classifier": ("generate", [["emoji-clutter-teacher"]], {}, "small"),
    "too many": ("generate", [["small"] * 9], {}, "at most 4"),
    "repository": ("push", ["one", "nothing"], {}, "owner/name"),
    "what is pushed": ("push", ["two", "you/small"], {}, "two"),
    "files that go along": ("push", ["one", "you/small"], {"runtimes": ["pickle"]}, "onnx-int8"),
    "no id": ("load", ["hub:nothing"], {}, "owner/name"),
    "kind of file": ("export", ["one", "pickle"], {}, "onnx-int8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(client, case):
    name, values, named, expected = REFUSED[case]
    with pytest.raises(AppError) as refused:
        client.predict(*values, **named, api_name=f"/{name}")
    said = str(refused.value)
    assert expected in said and said.endswith(".") and "\n" not in said


@pytest.mark.parametrize("data", [[], ["resnet18"], ["resnet18", {}, None, True, "fused", "fp32", 0, 3, False]])
def test_a_refusal_over_plain_http_is_a_400_with_its_text(studio, data):
    answer = httpx.post(f"{studio}/gradio_api/run/profile", json={"data": data})
    assert answer.status_code == 400 and answer.json()["error"].endswith(".")


def test_the_benchmark_of_visitors_is_answered(studio):
    visitor = Visitor(studio, 0, usual_arguments(studio))
    assert visitor.open() > 1000 and visitor.call() == ""
    assert Visitor(studio, 0, [None]).call().startswith("400")


def test_a_fault_of_the_server_is_a_sentence_too(client, studio, monkeypatch):
    def fails():
        raise KeyError("/secret/place")

    monkeypatch.setattr(run_list, "list_runs", fails)
    answer = httpx.post(f"{studio}/gradio_api/run/status", json={"data": [None]})
    assert answer.json()["error"] and "secret" not in answer.text


AT_HAND = [
    name
    for name, preset in PRESETS.items()
    if preset.group == "embedded" and preset.config.teacher_checkpoint in (None, *UNTRAINED)
]


@pytest.mark.parametrize("preset", AT_HAND)
def test_settings_of_a_preset_are_taken_as_they_are(preset):
    wanted = PRESETS[preset].config
    found = read_settings(preset, {"seed": 5})
    before, after = wanted.to_dict() | {"seed": 5}, found.to_dict()
    changed = {name for name in before if before[name] != after[name]}
    taught = {"feature_weight"} if wanted.teacher_checkpoint else {"feature_weight", "red_weight"}
    assert changed - {"student"} <= taught and (found.weights == wanted.weights or not wanted.teacher_checkpoint)
    assert (found.student.strides, found.student.red) == (wanted.student.strides, wanted.student.red)


def test_another_data_set_brings_its_classes_and_another_network_its_strides():
    found = read_settings("teacher", {"dataset": "emoji-identity"}).student
    assert found.classes != PRESETS["teacher"].config.student.classes
    changed = read_settings("undistilled", {"init": "scratch", "student": {"teacher": "resnet18"}}).student
    assert changed.teacher == "resnet18" and changed.strides["conv1"] > 2
    assert read_settings("teacher", {"student": {"teacher": "resnet18"}}).student.strides == {}, "nor had the preset"


def test_the_studio_loads_none_of_it(studio):
    page = httpx.get(studio).text
    assert '"type":"api"' not in page and f'href=\\"{PATH}\\"' in page
    told = httpx.get(f"{studio}/{PATH}").text
    assert all(f"api_name=&quot;/{name}&quot;" in told or f"/{name}" in told for name in NAMES)


def test_an_answer_names_no_place_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path))

    def answer(text: str) -> dict:
        if not text:
            raise ValueError(f"{tmp_path}/one is full.")
        return {"said": [f"{tmp_path}/{text}"], "base64": f"{tmp_path}/{text}"}

    assert checked(answer)("one") == {"said": ["one"], "base64": f"{tmp_path}/one"}
    with pytest.raises(gr.Error) as refused:
        checked(answer)("")
    assert refused.value.message == "one is full."
