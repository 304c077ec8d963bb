"""On a GPU that is lent by the call the same images are drawn, some of them in each call."""

from __future__ import annotations

import sys

import gradio as gr
import pytest
import torch
from helpers.lending import spaces
from helpers.visitors import asked_by

from app.api import making
from app.generate import drawing, lent_drawing
from app.generate.networks import load_network
from app.generate.samples import sample_all
from app.visitors import lending, quota
from redistill.training.presets import FACES_TEACHER

NAMES = [FACES_TEACHER, "small"]


@pytest.fixture
def zero(shipped, monkeypatch, tmp_path):
    """A page on ZeroGPU, whose GPU is this machine's CPU; the calls that were asked for."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", spaces())
    monkeypatch.setattr(quota, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(lent_drawing, "_SLOWER", {})
    with asked_by("browser:a"):
        asked: list[int] = []
        noted = lambda wish: asked.append(lent_drawing._seconds_of(wish)) or asked[-1]  # noqa: E731
        monkeypatch.setattr(lent_drawing, "draw_some", lending.lent(noted)(lent_drawing.draw_some))
        yield asked


@pytest.fixture
def two_at_a_time(monkeypatch):
    """Calls that have room for two images."""
    monkeypatch.setattr(lent_drawing, "call_seconds", lambda networks, count, steps: 30 * count)


def drawn(count: int = 4, steps: int = 3, teacher: str = FACES_TEACHER, students: tuple[str, ...] = ("small",)) -> list:
    return list(drawing.generate(teacher, list(students), 3, count, steps, "ddpm"))


def test_the_same_images_are_drawn_in_calls(zero, two_at_a_time):
    networks = [load_network(name) for name in NAMES]
    *_, at_once = sample_all(networks, [3, 4, 5, 6], 3, "ddpm")
    shown = drawn()
    assert zero == [60, 60]
    for samples, network in zip(shown[-1]["kept"], at_once, strict=True):
        assert samples.settings.seeds == (3, 4, 5, 6)
        assert (samples.images.int() - network.step.images.int()).abs().max() <= 1, "up to rounding"
        assert [step for step, _ in samples.way] == [0, 1, 2, 3] and all(len(images) == 4 for _, images in samples.way)
    assert shown[-1]["go"].interactive and shown[-1]["grids"].count("<img") == 8


def test_the_page_says_how_many_calls_and_what_is_left(zero, two_at_a_time, monkeypatch):
    clock, draw = Clock(), lent_drawing._draw

    def slow(folder, wish):
        clock.seconds += 30
        return draw(folder, wish)

    monkeypatch.setattr(lent_drawing, "time", clock)
    monkeypatch.setattr(lent_drawing, "_draw", slow)
    said = [step["said"] for step in drawn() if "said" in step]
    assert any("About 2 calls of a lent GPU, each of at most 60 s" in words and "120 s left" in words for words in said)
    assert any("2 of 4 images drawn" in words for words in said)
    assert "Done." in said[-1] and f"used {quota.spent():.0f} s here" in said[-1] and quota.spent() == 120


class Clock:
    """In place of `time`, for calls that take half a minute a network."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_what_a_refused_call_leaves_is_kept(zero, two_at_a_time, monkeypatch):
    draw, calls = lent_drawing._draw, []

    def refuse_later(folder, wish):
        calls.append(wish)
        if len(calls) > 2:
            raise ValueError("no more memory")
        return draw(folder, wish)

    monkeypatch.setattr(lent_drawing, "_draw", refuse_later)
    last = drawn()[-1]
    assert "Not all drawn" in last["said"] and "no more memory" in last["said"]
    assert [samples.settings.seeds for samples in last["kept"]] == [(3, 4), (3, 4)] and last["go"].interactive


def test_a_quota_that_is_used_up_is_a_sentence(zero, monkeypatch):
    def refuse(wish):
        raise gr.Error("You have exceeded your ZeroGPU quota")

    monkeypatch.setattr(lent_drawing, "draw_some", lending.lent(lambda wish: 1)(refuse))
    last = drawn()[-1]
    assert "Nothing drawn" in last["said"] and "exceeded your ZeroGPU quota" in last["said"]


def test_a_drawing_is_stopped_between_calls(zero, two_at_a_time):
    going = drawing.generate(FACES_TEACHER, [], 0, 4, 2, "ddim")
    for shown in going:
        if "2 of 4 images" in shown.get("said", ""):
            drawing.stop_sampling()
    assert "Stopped at 2 of 4 images" in shown["said"] and len(zero) == 1
    assert shown["kept"][0].settings.seeds == (0, 1)


def test_a_call_asks_for_what_it_is_estimated_to_take(zero):
    network = load_network(FACES_TEACHER)
    few, many = (lent_drawing.call_seconds([network], 1, steps) for steps in (10, 200))
    assert few < many <= 60
    drawn(count=4, steps=2, students=())
    assert zero == [lent_drawing.math.ceil(1.3 * (3 + 2 * 0.04) + 4)], "by the multiply-adds of the network"
    assert network.key in lent_drawing._SLOWER, "and from then on by what it took"
    lent_drawing._SLOWER[network.key] = 100.0
    assert lent_drawing.fitting([network], 16, 5) == 16 and lent_drawing.calls([network], 0, 5) == 0
    with pytest.raises(ValueError, match=r"One image of it takes about .* fewer denoising steps"):
        lent_drawing.fitting([network], 16, 250)
    assert "take fewer denoising steps" in drawn(steps=250, students=())[-1]["said"]


def test_programs_draw_in_calls_too(zero, two_at_a_time):
    answer = making.generate(NAMES, count=3, steps=2)
    assert [row["checkpoint"] for row in answer["networks"]] == NAMES and len(zero) == 2
    assert answer["files"][0]["bytes"] > 100 and quota.spent() > 0


def test_bad_settings_reach_the_page_as_a_sentence(zero):
    last = list(drawing.generate(FACES_TEACHER, [], 0, 4, 2, "euler"))[-1]
    assert "euler" in last["said"] and torch.is_grad_enabled()
