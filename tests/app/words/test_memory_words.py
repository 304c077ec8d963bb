"""What Explore warns of, each at its threshold."""

from __future__ import annotations

import dataclasses
import math

import pytest

from app.parts.counting import compare_as
from app.words.memory import short_labels, warnings
from redistill.memory.comparison import Comparison
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare_as(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet")))


def with_peaks(found: Comparison, **peaks: int) -> Comparison:
    """The same comparison with other peaks, named by network."""
    profiles = {name: dataclasses.replace(getattr(found, name), peak_bytes=peak) for name, peak in peaks.items()}
    return dataclasses.replace(found, **profiles)


def with_stem(found: Comparison, kernel: int) -> Comparison:
    """The same comparison with another window of the first convolution."""
    stem, *others = found.points
    return dataclasses.replace(found, points=(dataclasses.replace(stem, kernel=kernel), *others))


def said(found: Comparison, words: str) -> list[str]:
    return [note for note in warnings(found) if words in note]


def test_red_blocks_that_set_the_peak_are_said_from_the_first_byte():
    found = compare_as(StudentConfig("resnet50", 224, strides=early_strides("resnet50")))
    assert found.student.timeline[found.student.peak_index].is_red
    (note,) = said(found, "RED blocks")
    assert note == (
        "RED blocks set the peak: without them the student would need 1.72 MiB (4.0×). RED blocks (gate per channel) "
        "would need no more; they are another function, to be trained so."
    )
    assert said(with_peaks(found, student=found.bare.peak_bytes), "RED blocks") == []
    assert said(with_peaks(found, student=found.bare.peak_bytes + 1), "RED blocks set") != []


def test_red_blocks_that_only_lift_another_operator_do_not_set_the_peak(found):
    assert not found.student.timeline[found.student.peak_index].is_red
    assert said(with_peaks(found, bare=found.student.peak_bytes), "RED blocks") == []
    assert said(with_peaks(found, bare=found.student.peak_bytes - 1), "RED blocks raise the peak") != []


def test_pixels_are_skipped_when_the_stride_exceeds_the_window(found):
    assert found.config.strides["conv1"] == 4
    assert said(with_stem(found, kernel=4), "conv1 moves") == []
    (note,) = said(with_stem(found, kernel=3), "conv1 moves")
    assert note == (
        "conv1 moves 4 pixels at a time with a 3×3 window, so it never sees 1 of every 4 rows and columns. "
        "Another kind of first convolution sees them all."
    )


@pytest.mark.parametrize(("stride", "skipped"), [(1, 0), (2, 0), (4, 1), (8, 5)])
def test_the_windows_are_those_of_the_network(stride, skipped):
    found = compare_as(StudentConfig("narrow_resnet", 64, strides={"layer2.0": stride, "conv1": 1, "maxpool": 1}))
    notes = said(found, "layer2.0 moves")
    assert len(notes) == bool(skipped)
    assert all(f"never sees {skipped} of every {stride}" in note for note in notes)


def test_the_input_is_said_from_half_of_the_peak_on(found):
    image = 4 * math.prod((3, 64, 64))
    (note,) = said(with_peaks(found, student=2 * image), "input image")
    assert note.startswith("The input image itself is 48.0 KiB of the 96.0 KiB peak")
    assert said(with_peaks(found, student=2 * image + 1), "input image") == []


def test_the_input_is_not_said_where_it_is_gone(found):
    assert found.teacher.peak_layer == "maxpool"
    assert said(dataclasses.replace(found, student=found.teacher), "input image") == []


def test_a_student_larger_than_its_teacher_is_said_from_the_first_byte(found):
    assert said(with_peaks(found, student=327680), "more memory than its teacher") == []
    assert said(with_peaks(found, student=327681), "more memory than its teacher") != []


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["features.conv0", "features.pool0", "features.transition1.pool"], ["conv0", "pool0", "transition1"]),
        (["features.0.0", "features.2.conv.1.0", "features.14.conv.1.0"], ["0", "2", "14"]),
        (["conv1", "maxpool", "layer2.0"], ["conv1", "maxpool", "layer2"]),
        (["a.b.c", "a.b.d"], ["c", "d"]),
        (["a.b", "a.b.c"], ["b", "b.c"]),
        (["features.3"], ["features.3"]),
        (["down_blocks.0.downsamplers.0", "down_blocks.1.downsamplers.0"], ["down 0", "down 1"]),
        (["features.3.a", "features.3.b"], ["a", "b"]),  # shorter ones would be the same
        ([], []),
    ],
)
def test_labels_leave_out_what_all_begin_with_and_stay_apart(names, labels):
    found = short_labels(names)
    assert list(found) == names and list(found.values()) == labels
