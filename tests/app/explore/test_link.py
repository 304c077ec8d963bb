"""Links to Explore's settings: there and back, and whatever else may stand in an address."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs

import gradio as gr
import pytest
from helpers.explore import USUAL, call
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.explore import link, page
from app.explore.link import Settings, from_query, to_query, unknown_keys
from app.explore.pins import LETTERS, describe
from app.parts.budget import Budget, chip_budget
from app.parts.counting import COUNTINGS, compare_as
from redistill.memory.chips import CHIPS
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.alignment import BY_SIZE, RULES
from redistill.networks.red import GATES, KERNELS, POINTS, SQUEEZES, REDConfig
from redistill.networks.stem_kinds import AS_BUILT, STEMS
from redistill.networks.student import StudentConfig

OURS = "teacher=resnet18&size=128&strides=8,1,2,2,1&red=off&count=eager&dtype=fp16&chip=esp32s3"


# Drawn for a configuration, whichever handler is asked.
DRAWN = ("student", "summary", "chart", "pairs", "board", "tensors", "table")


def opened(query: dict[str, list[str]], **states) -> dict:
    """What the page shows for a query string, by the names of the components."""
    return page.open_query(query, USUAL | states)


def read(query: str) -> Settings:
    return from_query(parse_qs(query, keep_blank_values=True))


reds = st.builds(
    REDConfig,
    gate=st.just(True),
    residual_encoder=st.booleans(),
    gate_per=st.sampled_from(GATES),
    gate_kernel=st.sampled_from(KERNELS),
    residual_kernel=st.sampled_from(KERNELS),
    residual_squeeze=st.sampled_from(SQUEEZES),
    residual_depthwise=st.booleans(),
    points=st.sampled_from(POINTS),
)


@st.composite
def all_settings(draw) -> Settings:
    teacher = draw(st.sampled_from(["narrow_resnet", "resnet18", "unet_small"]))
    strides = {name: draw(st.sampled_from([1, 2])) for name in own_strides(teacher)}
    size, stem = draw(st.integers(64, 512)), AS_BUILT if teacher == "unet_small" else draw(st.sampled_from(STEMS))
    red = draw(st.none() | reds)
    rule = draw(st.sampled_from(RULES)) if red else BY_SIZE  # without blocks nothing stands anywhere
    student = StudentConfig(teacher, size, strides=strides, red=red, stem=stem, alignment=rule)
    return Settings(student, draw(st.sampled_from(list(COUNTINGS))), draw(st.sampled_from(link.DTYPES)))


@st.composite
def looked_at(draw) -> Settings:
    """With a budget and pins."""
    numbers = st.builds(Budget, st.just("Budget"), st.integers(1, link.MAX_BUDGET))
    taken = st.none() | st.integers(0, 2**17 - 1)
    budget = draw(st.none() | numbers | st.builds(chip_budget, st.sampled_from(list(CHIPS)), taken, taken))
    letters = draw(st.lists(st.sampled_from(LETTERS), unique=True))
    pins = tuple((letter, draw(all_settings())) for letter in letters)
    patch = draw(st.none() | st.tuples(st.sampled_from(["layer2", "layer1.0.conv1"]), st.integers(2, 32)))
    return dataclasses.replace(draw(all_settings()), budget=budget, pins=pins, patch=patch)


@settings(max_examples=60, deadline=None)
@given(looked_at())
def test_every_setting_survives_the_link(chosen):
    query = to_query(chosen)
    assert read(query) == chosen
    assert len(query) < link.MAX_LENGTH


def test_a_link_reads_like_the_page():
    student = StudentConfig("resnet18", 128, strides={**own_strides("resnet18"), "conv1": 8, "maxpool": 1}, red=None)
    chosen = Settings(student, "eager", "fp16", chip_budget("esp32s3"))
    assert to_query(chosen) == OURS.replace("8,1,2,2,1", "8,1,2,2,2")
    red = dataclasses.replace(student, red=REDConfig(gate=False, residual_kernel=5, points="outputs"))
    assert "red=on&gate=off&residual_kernel=5&points=outputs&count" in to_query(Settings(red))


def test_strides_stand_in_the_order_of_the_network_and_are_complete():
    strides = dict(reversed(own_strides("resnet18").items()))
    strides.pop("layer2.0")
    assert "strides=2,2,2,2,2&" in to_query(Settings(StudentConfig("resnet18", 224, strides=strides)))


def test_what_a_link_leaves_out_is_what_the_page_opens_with():
    found = read("").count()
    assert read("") == Settings(StudentConfig("resnet18", 224, strides=early_strides("resnet18")))
    assert (found.teacher.peak_bytes, found.student.peak_bytes) == (4_014_080, 802_816)
    assert read("teacher=unet_small") == Settings(StudentConfig("unet_small", 32, strides=early_strides("unet_small")))
    with gr.Blocks() as blocks:
        assert page.build(blocks)["link"].value == to_query(read(""))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("teacher=resnet99", "teacher is 'resnet99'; expected one of narrow_resnet, resnet18"),
        ("teacher=", "teacher is ''"),
        ("size=15", "size is '15'; expected a whole number from 16 to 1,024"),
        ("size=1e2", "size is '1e2'"),
        ("size=-64", "size is '-64'"),
        ("size=" + "9" * 400, "size is '9999999999999999999999999999999999999999…'"),
        ("size=%EF%BC%96%EF%BC%94", "size is '６４'"),  # digits of another script
        ("strides=4,1,2", "expected 5 whole numbers such as 2,2,2,2,2, for the layers conv1, maxpool, layer2.0"),
        ("strides=4,1,2,2,1,1", "expected 5 whole numbers"),
        ("strides=", "strides is ''"),
        ("strides=4,1,2,2,x", "strides is '4,1,2,2,x'"),
        ("strides=3,1,2,2,1", "Stride of conv1 is '3'; expected one of 1, 2, 4, 8"),
        ("strides=0,1,2,2,1", "is 0"),
        ("strides=8,8,8,8,8", "reduce the image 32768 times"),
        ("red=yes", "red is 'yes'; expected one of on, off"),
        ("gate=off&residual=off", "does nothing"),
        ("gate_kernel=2", "gate_kernel is '2'; expected one of 1, 3, 5"),
        ("points=most", "points is 'most'"),
        ("count=guessed", "count is 'guessed'; expected one of fused, eager"),
        ("dtype=fp64", "dtype is 'fp64'"),
        ("budget=0", "budget is '0'"),
        ("patch=layer2", "patch is 'layer2'; expected a layer and from 2 to 32 a side"),
        ("patch=layer2:1", "from 2 to 32"),
        ("patch=:4", "such as layer2:4"),
        ("pin=A;patch:layer2", "expected a letter and settings"),
        ("chip=esp32", "chip is 'esp32'; expected one of"),
        ("chip=rp2040&budget=65536", "expected one of them"),
        ("reserve=65536", "reserve is '65536' without a chip"),
        ("chip=rp2040&reserve=1e3", "reserve is '1e3'"),
        ("chip=rp2040&reserve=270336", "less than the 270,336"),
        ("chip=rp2040&program=99999999", "less than the 2,097,152"),
        ("pin=A;chip:rp2040", "expected a letter and settings"),
        ("budget=" + "9" * 15, "expected a whole number from 1 to 1,099,511,627,776"),
        ("teacher=resnet18&teacher=resnet50", "teacher stands in it 2 times; expected it once"),
        ("teacher=%00%1b[31m%0d%0a", r"teacher is '\x00\x1b[31m\r\n'"),
        ("teacher=<script>alert(1)</script>", "teacher is '<script>alert(1)</script>'"),
        ("teacher=" + "x" * 10_240, "it is 10,247 characters long; expected at most 2,000"),
        ("pin=A;size:15", "size is '15'"),
        ("pin=E;size:64", "The letter of a pin is 'E'; expected one of A, B, C, D"),
        ("pin=A;size:64&pin=A;size:32", "the pins have the letters A, A; expected each letter once"),
        ("pin=A;budget:64", "pin is 'A;budget:64'; expected a letter and settings such as A;teacher:resnet18"),
        ("pin=A;size:64;size:64", "expected a letter and settings"),
        ("x" * 10_240 + "=1", "characters long"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_the_page_stays_as_it_was(query, sentence):
    with pytest.raises(ValueError) as refused:
        read(query)
    said = str(refused.value)
    assert sentence in said and len(said) < 460 and said.isprintable()
    shown = opened(parse_qs(query, keep_blank_values=True))
    assert shown.keys() == {"link_said"}
    said = shown["link_said"]
    assert said.startswith('<div class="notice warning"') and "The page shows its usual settings instead." in said
    assert "<script" not in said


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*link.KEYS, "x"]), st.lists(st.text(max_size=12), min_size=1, max_size=2)))
def test_nothing_in_a_link_breaks_the_page(query):
    shown = opened(query)
    assert shown.keys() <= {"link_said"} or "summary" in shown


def test_keys_of_others_are_left_alone_and_the_rest_is_named():
    query = parse_qs(f"{OURS}&__theme=dark&utm_source=mail&fbclid=1&view=api")
    assert unknown_keys(query) == [] and from_query(query) == read(OURS)
    assert opened(query)["link_said"] == ""
    shown = opened(parse_qs(f"{OURS}&sise=2&%3Cb%3E=1"))
    assert "&#x27;sise&#x27;, &#x27;&lt;b&gt;&#x27;" in shown["link_said"] and "hint" in shown["link_said"]
    assert shown["link"] == OURS
    assert opened({"__sign": ["x" * 5000]}) == {}


def test_an_opened_link_fills_every_control_and_what_is_drawn():
    shown = opened(parse_qs(OURS.replace("red=off", "red=on&align=stage-wise&residual_kernel=5")))
    picker, kib, reserve, program = (shown.pop(name) for name in ("picker", "kib", "reserve", "program"))
    controls = {name: shown[name] for name in USUAL if name in shown}
    assert list(picker.value.values()) == [8, 1, 2, 2, 1]
    assert controls == {
        "teacher": "resnet18",
        "image_size": 128,
        "width": None,
        "in_channels": 3,
        "batch": 1,
        "stem": "as built",
        "with_red": True,
        "alignment": "stage-wise",
        "gate": True,
        "gate_per": "pixel",
        "gate_kernel": 1,
        "residual_encoder": True,
        "residual_kernel": 5,
        "residual_squeeze": 1,
        "residual_depthwise": False,
        "points": "all",
        "accounting": "eager",
        "dtype": "fp16",
        "budget": "esp32s3",
        "patch": "",
        "pins": (),
    }
    assert shown["link_said"] == "" and not kib.visible
    assert (reserve.value, program.value) == (96, 128) and reserve.visible and program.visible
    assert shown["student"]["strides"] == picker.value
    assert "Peak falls" in shown["summary"] and "ESP32-S3, 352 KiB" in shown["summary"]
    drawn = call("show", **controls, picker=picker.value)
    assert {name: drawn[name] for name in DRAWN} == {name: shown[name] for name in DRAWN}


def test_a_link_brings_its_pins_and_one_without_leaves_them():
    strides = early_strides("resnet18")
    pinned = Settings(StudentConfig("resnet18", 128, strides=strides), "eager", "fp16")
    query = to_query(dataclasses.replace(read(OURS), pins=(("C", pinned), ("A", read("teacher=vgg16")))))
    shown = opened(parse_qs(query))
    pins = shown["pins"]
    assert [pin.letter for pin in pins] == ["A", "C"]
    assert pins[1].found.student.peak_bytes == compare_as(pinned.student, "eager", "fp16").student.peak_bytes
    assert opened(parse_qs(OURS), pins=pins)["pins"] == tuple(pins)
    assert f"{describe(pins[1].found)}</th>" in shown["board"]


def test_the_address_is_read_as_browsers_and_their_proxies_hand_it_on():
    request = gr.Request(query_params=dict(QueryParams(OURS)))
    assert call("open_page", request)["link"] == OURS
    twice = type("Request", (), {"query_params": QueryParams(f"{OURS}&size=32")})()
    assert "2 times" in call("open_page", twice)["link_said"]


def test_the_link_follows_the_controls_and_outlives_what_does_not_fit():
    controls = {
        "teacher": "resnet18",
        "image_size": 224,
        "picker": early_strides("resnet18"),
        "budget": "other",
        "kib": 100.5,
    }
    shown = call("follow", link=to_query(read("")), **controls)
    student = StudentConfig("resnet18", 224, strides=early_strides("resnet18"))
    assert shown["link_said"] == "" and read(shown["link"]) == Settings(student, budget=Budget("Budget", 102_912))
    kib = opened(parse_qs(shown["link"]))["kib"]
    assert (kib.value, kib.visible) == (100.5, True)
    drawn = call("show", **controls)["drawn"]
    assert drawn == shown["drawn"] == shown["link"]
    assert call("follow", link=shown["link"], drawn=drawn, **controls) == {}
    refused = call("follow", link=shown["link"], drawn=drawn, teacher="resnet99")
    assert "link" not in refused and refused["drawn"] == ""
    assert call("follow", link=shown["link"], drawn="", teacher="resnet99") == {}


def test_what_a_late_answer_drew_is_drawn_anew():
    late, now = call("show", dtype="fp16"), call("show", dtype="int8")
    shown = call("follow", link=now["drawn"], drawn=late["drawn"], dtype="int8")
    assert shown["summary"] == now["summary"] != late["summary"] and "link" not in shown
    pins = call("pin_shown")
    assert call("show", pins=pins["pins"])["drawn"] == pins["drawn"] != call("show")["drawn"]
    assert call("show", image_size=16)["drawn"] not in ("", call("show")["drawn"])  # refused, and said so
