"""The settings of a run, whatever stands in the file that they are read from."""

from __future__ import annotations

import contextlib
import copy
import math

import pytest

from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

VALUES = PRESETS["quick"].config.to_dict()
PLACES = [(), ("student",), ("student", "red")]  # of settings within settings
HOSTILE = [None, True, 5, -1, 1.5, math.nan, 10**400, "x", [], [1], [[1]], {}, {"a": 1}]


@pytest.mark.parametrize("place", PLACES, ids=["run", "student", "red"])
def test_a_file_of_settings_is_read_or_refused_in_a_sentence(place):
    def settings(values):
        for name in place:
            values = values[name]
        return values

    refused = 0
    for name in settings(VALUES):
        for value in HOSTILE:
            values = copy.deepcopy(VALUES)
            settings(values)[name] = value
            with contextlib.suppress(ValueError):
                DistillConfig.from_dict(values)
                continue
            refused += 1
    assert refused > len(settings(VALUES))  # at least one value of each


@pytest.mark.parametrize("student", [None, "narrow_resnet", [1]])
def test_a_run_without_a_student_is_refused(student):
    with pytest.raises(ValueError, match="student"):
        DistillConfig.from_dict(VALUES | {"student": student})


@pytest.mark.parametrize("name", ["teacher", "architecture"])
def test_a_network_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="narrow_resnet"):
        DistillConfig.from_dict(VALUES | {"student": VALUES["student"] | {name: ["resnet18"]}})


@pytest.mark.parametrize("kd", ["dkd", "mlld"])
def test_a_network_that_draws_has_no_classes_to_compare(kd):
    with pytest.raises(ValueError, match="DKD and MLLD are of classes; with a diffusion network, set kd to 'kl'"):
        DistillConfig.from_dict(PRESETS["faces-both"].config.to_dict() | {"kd": kd})
