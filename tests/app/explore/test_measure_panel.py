"""Measure on this machine: computed and measured bytes agree, and what would take long is refused."""

from __future__ import annotations

import threading

import pytest
import torch
from helpers.explore import USUAL

from app.explore import measure_panel
from app.explore.measure_panel import Measurement, measure
from app.parts.counting import compare_as
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig


def show(**changes) -> dict:
    """What the panel shows for Explore's controls, by the names of its components."""
    return measure_panel.CARD.show(**USUAL | {"dtype": "int8"} | changes)


def student(teacher: str, image_size: int, **changes) -> StudentConfig:
    return StudentConfig(teacher, image_size, **({"strides": early_strides(teacher)} | changes))


@pytest.mark.parametrize(
    "config",
    [
        student("narrow_resnet", 64),
        student("resnet18", 96, red=None),
        student("mobilenet_v3_small", 64),
        student("unet_small", 32),
    ],
    ids=lambda config: config.teacher,
)
def test_what_pytorch_allocates_is_what_explore_computes(config):
    teacher, small = measure(config)
    found = compare_as(config, "eager")
    assert (teacher.name, small.name) == ("Teacher", "Student")
    assert (teacher.computed, small.computed) == (found.teacher.peak_bytes, found.student.peak_bytes)
    assert teacher.measured > small.measured > 0
    assert teacher.difference == small.difference == 0


def test_the_table_shows_whole_bytes_whatever_the_page_counts():
    panel = show()
    shown = panel["measured"]
    peak = compare_as(student("narrow_resnet", 64), "eager").student.peak_bytes
    assert shown.count(f"<td>{peak:,}</td>") == 2 and shown.count("<td>0</td>") == 2
    assert "Exact to the byte." in shown
    assert "Narrow ResNet, strides 4·1·2·2·1, RED blocks, 64 px, as PyTorch counts (eager)." in shown
    assert panel["measure"].interactive is True


def test_a_machine_that_allocates_otherwise_is_not_called_exact(monkeypatch):
    monkeypatch.setattr(measure_panel, "measure", lambda config, batch: [Measurement("Teacher", 1000, 3500)])
    shown = show(picker={})["measured"]
    assert "Exact" not in shown and "allocates otherwise" in shown and "<td>2,500</td>" in shown


def test_work_of_others_at_the_same_time_is_not_counted():
    done = threading.Event()

    def others() -> None:
        while not done.is_set():
            torch.randn(8, 64, 64).mul(2)

    other = threading.Thread(target=others)
    other.start()
    try:
        assert [result.difference for result in measure(student("narrow_resnet", 64))] == [0, 0]
    finally:
        done.set()
        other.join()


def test_what_would_take_long_is_refused_with_the_reason_and_not_built(monkeypatch):
    monkeypatch.setattr(measure_panel, "build_student", lambda config: pytest.fail("was built"))
    panel = show(teacher="resnet152", image_size=512, picker={})
    shown = panel["measured"]
    assert "Not measured." in shown and panel["measure"].interactive is True
    assert "One pass of the teacher at 512 px takes 60.1 G multiply-accumulates" in shown
    assert "expected at most 25 G. Choose a smaller image." in shown
    monkeypatch.setattr(measure_panel, "MAX_BYTES", 2**20)
    shown = show(picker={})["measured"]
    assert "The teacher at 64 px needs 1.7" in shown and "expected at most 1.00 MiB" in shown


def test_a_machine_without_memory_is_a_sentence(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] you tried to allocate 9 bytes.\nframe #0: <unknown>")

    monkeypatch.setattr(measure_panel, "measure_peak", fail)
    shown = show(picker={})["measured"]
    assert "This machine could not run it: [enforce fail" in shown and "frame #0" not in shown


def test_the_page_says_at_once_that_it_works():
    waiting = measure_panel.CARD.wait()
    assert "running each once" in waiting["measured"] and waiting["measure"].interactive is False
