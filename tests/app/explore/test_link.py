"""Links to Explore's settings: there and back, and whatever else may stand in an address."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.explore import link
from app.explore import page as explore
from app.explore.link import Settings, from_query, to_query, unknown_keys
from app.explore.pins import LETTERS, describe_pin
from app.parts.counting import COUNTINGS, compare_as
from app.parts.trace import Place
from redistill.memory.comparison import early_strides, own_strides
from redistill.networks.red import KERNELS, POINTS, REDConfig
from redistill.networks.student import StudentConfig

STATES = ((), Place())  # no pins, no layer of interest
OURS = "teacher=resnet18&size=128&strides=8,1,2,2,1&red=off&count=eager&dtype=fp16&budget=524288"


@pytest.fixture(scope="module")
def page_link():
    """The link of a page that is built but not served."""
    with gr.Blocks():
        return explore.build().link


def read(query: str) -> Settings:
    return from_query(parse_qs(query, keep_blank_values=True))


reds = st.builds(
    REDConfig,
    gate=st.just(True),
    residual_encoder=st.booleans(),
    gate_kernel=st.sampled_from(KERNELS),
    residual_kernel=st.sampled_from(KERNELS),
    points=st.sampled_from(POINTS),
)


@st.composite
def all_settings(draw) -> Settings:
    teacher = draw(st.sampled_from(["narrow_resnet", "resnet18", "unet_small"]))
    strides = {name: draw(st.sampled_from([1, 2])) for name in own_strides(teacher)}
    student = StudentConfig(teacher, draw(st.integers(64, 512)), strides=strides, red=draw(st.none() | reds))
    return Settings(student, draw(st.sampled_from(list(COUNTINGS))), draw(st.sampled_from(link.DTYPES)))


@st.composite
def looked_at(draw) -> Settings:
    """With a budget and pins."""
    budget = draw(st.none() | st.integers(1, link.MAX_BUDGET))
    letters = draw(st.lists(st.sampled_from(LETTERS), unique=True))
    pins = tuple((letter, draw(all_settings())) for letter in letters)
    return dataclasses.replace(draw(all_settings()), budget_bytes=budget, pins=pins)


@settings(max_examples=60, deadline=None)
@given(looked_at())
def test_every_setting_survives_the_link(chosen):
    query = to_query(chosen)
    assert read(query) == chosen
    assert len(query) < link.MAX_LENGTH


def test_a_link_reads_like_the_page():
    student = StudentConfig("resnet18", 128, strides={**_strides("resnet18"), "conv1": 8, "maxpool": 1}, red=None)
    chosen = Settings(student, "eager", "fp16", 2**19)
    assert to_query(chosen) == OURS.replace("8,1,2,2,1", "8,1,2,2,2")
    red = dataclasses.replace(student, red=REDConfig(gate=False, residual_kernel=5, points="outputs"))
    assert "red=on&gate=off&residual_kernel=5&points=outputs&count" in to_query(Settings(red))


def test_strides_stand_in_the_order_of_the_network_and_are_complete():
    strides = dict(reversed(_strides("resnet18").items()))
    strides.pop("layer2.0")
    assert "strides=2,2,2,2,2&" in to_query(Settings(StudentConfig("resnet18", 224, strides=strides)))


def test_what_a_link_leaves_out_is_what_the_page_opens_with(page_link):
    assert read("") == Settings(StudentConfig("narrow_resnet", 64, strides=_early("narrow_resnet")))
    assert read("teacher=unet_small") == Settings(StudentConfig("unet_small", 32, strides=_early("unet_small")))
    assert page_link.button.value == to_query(read(""))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("teacher=resnet99", "teacher is 'resnet99'; expected one of narrow_resnet, resnet18"),
        ("teacher=", "teacher is ''"),
        ("size=15", "size is '15'; expected a whole number from 16 to 512"),
        ("size=1e2", "size is '1e2'"),
        ("size=-64", "size is '-64'"),
        ("size=" + "9" * 400, "size is '9999999999999999999999999999999999999999…'"),
        ("size=%EF%BC%96%EF%BC%94", "size is '６４'"),  # digits of another script
        ("strides=4,1,2", "expected 5 whole numbers such as 1,2,2,2,2, for the layers conv1, maxpool, layer2.0"),
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
def test_what_does_not_fit_is_one_sentence_and_the_page_stays_as_it_was(page_link, query, sentence):
    with pytest.raises(ValueError) as refused:
        read(query)
    said = str(refused.value)
    assert sentence in said and len(said) < 400 and said.isprintable()
    shown, *others = page_link.open(parse_qs(query, keep_blank_values=True), *STATES)
    assert shown.startswith('<div class="notice warning"') and "The page shows its usual settings instead." in shown
    assert "<script" not in shown
    assert others == [gr.skip()] * (len(page_link.outputs) - 1)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*link.KEYS, "x"]), st.lists(st.text(max_size=12), min_size=1, max_size=2)))
def test_nothing_in_a_link_breaks_the_page(page_link, query):
    shown = page_link.open(query, *STATES)
    assert len(shown) == len(page_link.outputs)


def test_keys_of_others_are_left_alone_and_the_rest_is_named(page_link):
    query = parse_qs(f"{OURS}&__theme=dark&utm_source=mail&fbclid=1&view=api")
    assert unknown_keys(query) == [] and from_query(query) == read(OURS)
    assert page_link.open(query, *STATES)[0] == ""
    said, address, *_ = page_link.open(parse_qs(f"{OURS}&sise=2&%3Cb%3E=1"), *STATES)
    assert "&#x27;sise&#x27;, &#x27;&lt;b&gt;&#x27;" in said and "hint" in said
    assert address == OURS
    assert page_link.open({"__sign": ["x" * 5000]}, *STATES) == [gr.skip()] * len(page_link.outputs)


def test_an_opened_link_fills_every_control_and_what_is_drawn(page_link):
    said, _, *values = page_link.open(parse_qs(OURS.replace("red=off", "red=on&residual_kernel=5")), *STATES)
    controls, drawn = values[: len(page_link.controls)], values[len(page_link.controls) :]
    teacher, size, picker, *others = controls
    assert (said, teacher, size) == ("", "resnet18", 128)
    assert list(picker.value.values()) == [8, 1, 2, 2, 1]
    *others, budget, kib, pins = others
    assert pins == ()
    assert others == [True, True, 1, True, 5, "all", "eager", "fp16"]
    assert (budget, kib.visible) == ("esp32s3", False)
    assert drawn[0]["strides"] == picker.value and "Peak falls" in drawn[2] and "ESP32-S3" in drawn[2]
    shown = explore.show(teacher, size, picker.value, *others, budget)
    assert shown[1:2] + shown[3:] == drawn[:1] + drawn[2:]


def test_a_link_brings_its_pins_and_one_without_leaves_them(page_link):
    strides = _early("resnet18")
    pinned = Settings(StudentConfig("resnet18", 128, strides=strides), "eager", "fp16")
    query = to_query(dataclasses.replace(read(OURS), pins=(("C", pinned), ("A", read("teacher=vgg16")))))
    place = page_link.controls.index(page_link.states[0])
    pins = page_link.open(parse_qs(query), *STATES)[2:][place]
    assert [pin.letter for pin in pins] == ["A", "C"]
    assert pins[1].peak_bytes == compare_as(pinned.student, "eager", "fp16").student.peak_bytes
    assert page_link.open(parse_qs(OURS), pins, Place())[2:][place] == tuple(pins)
    assert f"{describe_pin(pins[1])}</th>" in "".join(map(str, page_link.open(parse_qs(query), *STATES)))


def test_the_address_is_read_as_browsers_and_their_proxies_hand_it_on(page_link):
    request = gr.Request(query_params=dict(QueryParams(OURS)))
    assert page_link.open_page(request, *STATES)[1] == OURS
    twice = type("Request", (), {"query_params": QueryParams(f"{OURS}&size=32")})()
    assert "2 times" in page_link.open_page(twice, *STATES)[0]


def test_the_link_follows_the_controls_and_outlives_what_does_not_fit(page_link):
    values = ["resnet18", 224, _early("resnet18"), True, True, 1, True, 3, "all", "fused", "fp32", "other", 100.5]
    now, said = page_link.follow(page_link.button.value, *values)
    student = StudentConfig("resnet18", 224, strides=_early("resnet18"))
    assert said == "" and read(now) == Settings(student, budget_bytes=102_912)
    kib = page_link.open(parse_qs(now), *STATES)[14]
    assert (kib.value, kib.visible) == (100.5, True)
    assert page_link.follow(now, *values) == [gr.skip(), gr.skip()]
    values[1] = 16
    assert page_link.follow(now, *values) == [gr.skip(), gr.skip()]


def _strides(teacher: str) -> dict[str, int]:
    return own_strides(teacher)


def _early(teacher: str) -> dict[str, int]:
    return early_strides(teacher)
