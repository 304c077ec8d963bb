"""The stride search: its figures are the tape's, its front is the front, its counts add up."""

from __future__ import annotations

import random
from itertools import product
from math import prod

import pytest
import torch
import torchvision
from helpers.pyramids import Gated
from torch import Tensor, nn

from redistill.memory import Tape, capture
from redistill.memory.chips import Bank, Chip, Room
from redistill.memory.search import MAX_VECTORS, search_strides, strides_at
from redistill.networks.alignment import align, red_sites
from redistill.networks.red import REDConfig, insert_red
from redistill.networks.strides import set_strides
from redistill.networks.student import add_red
from redistill.networks.zoo import build_network

PAPER = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
REDS = (None, REDConfig(), REDConfig(gate=False, points="outputs"))


def build(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_network(name)


@pytest.fixture(scope="module")
def narrow() -> Tape:
    return capture(build("narrow_resnet"), (1, 3, 32, 32))


@pytest.mark.parametrize("name", ["narrow_resnet", "mobilenet_v2", "vgg16", "densenet121"])
def test_peaks_are_those_of_a_profile_on_a_tape_without_a_past(name):
    tape = capture(build(name), (1, 3, 64, 64))
    chosen = random.Random(name)
    for _ in range(4 if name == "densenet121" else 12):
        strides = {point.name: chosen.choice((1, 2, 2, 4)) for point in tape.points}
        settings = {
            "strides": strides,
            "image_size": chosen.choice((None, None, 64, 96)),
            "batch": chosen.choice((None, 3)),
            "dtype": chosen.choice((None, "int8")),
            "accounting": chosen.choice(("fused", "eager")),
        }
        settings["fuse_add"] = settings["accounting"] == "fused" and chosen.random() < 0.5
        if prod(strides.values()) > 64:
            with pytest.raises(ValueError, match="reduce the image"):
                tape.peaks(**settings, reds=REDS)
            continue
        reds = chosen.sample(REDS, len(REDS))
        found = tape.peaks(**settings, reds=reds)
        fresh = Tape(tape.recording)
        for red, peak in zip(reds, found, strict=True):
            profile = fresh.profile(**settings, red=red)
            expected = (profile.peak_bytes, profile.peak_layer, profile.macs, profile.needed_bytes)
            assert (peak.bytes, peak.layer, peak.macs, peak.needed_bytes) == expected, (settings, red)


def test_peaks_without_any_block_to_put_in_are_the_bare_ones(narrow):
    # Nothing but the stem pools, to a size that no layer of the teacher makes.
    strides = {point.name: 1 for point in narrow.points} | {"conv1": 3}
    bare, red = narrow.peaks(strides, reds=(None, REDConfig()))
    assert bare == red == narrow.peaks(strides)[0]


@pytest.mark.parametrize("reduction", ["same", "any"])
@pytest.mark.parametrize(
    ("red", "rule"), [(None, "asynchronous"), (REDConfig(), "asynchronous"), (REDConfig(), "stage-wise")]
)
def test_result_is_that_of_going_through_all_vectors(narrow, reduction, red, rule):
    names = [point.name for point in narrow.points]
    expected = {}
    refused = 0
    for vector in product((1, 2, 4), repeat=len(names)):
        if reduction == "same" and prod(vector) != 16:
            continue
        if prod(vector) > 32:
            refused += 1
            continue
        strides = dict(zip(names, vector, strict=True))
        expected[vector] = narrow.profile(strides), narrow.profile(strides, red=red, alignment=rule)
    result = search_strides(narrow, strides=(4, 1, 2, 2), reduction=reduction, red=red, alignment=rule)
    found = {tuple(candidate.strides.values()): candidate for candidate in result.candidates}
    assert found.keys() == expected.keys()
    for vector, (bare, full) in expected.items():
        candidate = found[vector]
        assert list(candidate.strides) == names and candidate.reduction == prod(vector)
        assert (candidate.bare_peak_bytes, candidate.bare_macs) == (bare.peak_bytes, bare.macs)
        assert (candidate.peak_bytes, candidate.macs) == (full.peak_bytes, full.macs)
        assert candidate.peak_layer == full.peak_layer
        assert candidate.macs >= candidate.bare_macs
    assert (result.tried, result.refused) == (len(expected) + refused, refused)
    assert refused == 0 if reduction == "same" else refused > 0
    assert result.seconds > 0

    def dominated(pair: tuple[int, int]) -> bool:
        others = {(full.needed_bytes, bare.macs) for bare, full in expected.values()} - {pair}
        return any(need <= pair[0] and kept >= pair[1] for need, kept in others)

    pairs = {(full.needed_bytes, bare.macs) for bare, full in expected.values()}
    front = [(candidate.needed_bytes, candidate.bare_macs) for candidate in result.front]
    assert front == sorted(pair for pair in pairs if not dominated(pair))
    assert len(front) > 2
    needs = [candidate.needed_bytes for candidate in result.candidates]
    assert needs == sorted(needs)
    assert (
        needs[0],
        min(candidate.macs for candidate in result.candidates if candidate.needed_bytes == needs[0]),
    ) == min((full.needed_bytes, full.macs) for _, full in expected.values())


def test_every_way_through_a_network_keeps_its_reduction():
    """That of a gate's map, which is enlarged again, is another one than that of the maps that it multiplies."""
    tape = capture(Gated(), (1, 3, 64, 64))
    found = search_strides(tape, red=None).candidates
    chosen = {tuple(candidate.strides.values()) for candidate in found}
    assert list(found[0].strides) == ["c1", "gate.0", "c2"] and chosen == {(1, 8, 4), (2, 4, 2), (4, 2, 1)}
    for candidate in found:
        assert tape.points_at(candidate.strides)[-1].out_size == (16, 16)
    assert len(search_strides(tape, red=None, reduction="any").candidates) > len(found)


@pytest.mark.parametrize("reduction", ["same", "any"])
def test_strides_of_patches_are_tried_too_and_twice_as_large(reduction):
    """A transformer's own are none of the usual ones."""

    class Patches(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 8, 14, 14), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    result = search_strides(Patches(), 56, red=None, reduction=reduction)
    tried = sorted(candidate.reduction for candidate in result.candidates)
    assert tried == ([14] if reduction == "same" else [1, 2, 4, 8, 14, 28])
    own = next(candidate for candidate in result.candidates if candidate.reduction == 14)
    assert own.peak_bytes == result.teacher.peak_bytes
    assert [strides_at(own) for own in (1, 2, 4, 3, 8, 16)] == [
        [1, 2, 4, 8], [1, 2, 4, 8], [1, 2, 4, 8], [1, 2, 3, 4, 8], [1, 2, 4, 8, 16], [1, 2, 4, 8, 16, 32],
    ]  # fmt: skip


def test_published_strides_of_resnet18():
    result = search_strides(build("resnet18"), 224, strides=(1, 2, 8))
    assert result.teacher.peak_bytes == result.teacher.bare_peak_bytes == 4_014_080
    assert result.teacher.macs == result.teacher.bare_macs == 1_814_073_344
    assert set(result.teacher.strides.values()) == {2} and result.teacher.reduction == 32
    [paper] = [candidate for candidate in result.candidates if candidate.strides == PAPER]
    assert paper.peak_bytes == paper.bare_peak_bytes == 802_816 and paper.peak_layer == "conv1"
    assert paper.bare_macs < paper.macs < result.teacher.macs
    assert all(candidate.reduction == 32 for candidate in result.candidates)


def test_the_budget_flips_at_the_byte(narrow):
    needs = [candidate.needed_bytes for candidate in search_strides(narrow).candidates]
    middle = needs[len(needs) // 2]
    at, below = (search_strides(narrow, budget_bytes=budget) for budget in (middle, middle - 1))
    assert at.fitting == sum(need <= middle for need in needs) > below.fitting == sum(need < middle for need in needs)
    assert (at.budget_bytes, search_strides(narrow).fitting) == (middle, len(needs))
    assert search_strides(narrow, budget_bytes=1).fitting == 0


@pytest.mark.parametrize("accounting", ["fused", "eager", "onnxruntime", "executorch"])
def test_what_fits_is_what_a_program_needs(narrow, accounting):
    """The arena where one is planned, and the input where the caller holds it: of each candidate, and at the budget."""
    asked = {"strides": (1, 2, 4), "accounting": accounting, "red": None}
    found, gaps = search_strides(narrow, **asked), []
    held = 3 * 32 * 32 * 4 if accounting == "executorch" else 0
    is_planned = accounting in ("fused", "executorch")
    for candidate in found.candidates:
        profile = narrow.profile(candidate.strides, accounting=accounting)
        plan = profile.plan()
        assert (
            candidate.needed_bytes == profile.needed_bytes == (plan.bytes if is_planned else profile.peak_bytes) + held
        )
        assert candidate.peak_bytes == profile.peak_bytes and plan.live_bytes <= plan.bytes
        gaps.append(candidate.needed_bytes - held - plan.live_bytes)
    assert any(gaps) or accounting != "fused", "some of these arenas have gaps"
    needs = [candidate.needed_bytes for candidate in found.candidates]
    assert needs == sorted(needs)
    for budget in (needs[len(needs) // 2], needs[len(needs) // 2] - 1):
        fitting = search_strides(narrow, budget_bytes=budget, **asked)
        assert fitting.fitting == sum(need <= budget for need in needs)
        assert fitting.within(budget) == tuple(one for one in found.front if one.needed_bytes <= budget)


def test_a_model_and_a_tape_at_another_size_and_batch_agree(narrow):
    settings = {"accounting": "eager", "dtype": "fp16", "batch": 2}
    on_tape = search_strides(narrow, 48, strides=(1, 2), reduction="any", **settings)
    fresh = search_strides(build("narrow_resnet"), (48, 48), strides=(1, 2), reduction="any", **settings)
    assert on_tape.candidates == fresh.candidates and on_tape.teacher == fresh.teacher
    assert on_tape.front == fresh.front


class Fixed(nn.Module):
    """A strided convolution whose classifier takes its maps as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.fc = nn.Linear(4 * 8 * 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).flatten(1))


def test_strides_that_do_not_fit_the_network_are_refused():
    result = search_strides(Fixed(), 16, reduction="any")
    assert (result.tried, result.refused, len(result.candidates)) == (4, 3, 1)
    with pytest.raises(ValueError, match=r"None of the 2 stride vectors .*'fc'.*a linear layer of 256 features"):
        search_strides(Fixed(), 16, reduction="any", strides=(1, 4))


class Forked(nn.Module):
    """Two strided convolutions, after which the width of the map decides what happens."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, 6, 3, stride=2, padding=1) for channels in (3, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        return torch.cat([x, x * 2, x + 1]) if x.shape[-1] > 4 else x


@pytest.mark.parametrize("rule", ["asynchronous", "stage-wise"])
@pytest.mark.parametrize("settings", [{"image_size": 16}, {"image_size": 24, "batch": 2, "accounting": "eager"}])
def test_what_the_tape_cannot_tell_is_captured_and_counted(settings, rule):
    told = []
    tape = capture(Forked(), (1, 3, 16, 16))
    tell = {"progress": lambda *state: told.append(state), "alignment": rule}
    result = search_strides(tape, reduction="any", **tell, **settings)
    too_much = sum(a * b > settings["image_size"] for a, b in product((1, 2, 4, 8), repeat=2))
    assert (result.tried, result.refused) == (16, too_much)
    assert 0 < result.captured < len(result.candidates)
    assert [state[:2] for state in told] == [(done, 16) for done in range(1, 17)] and told[-1][2] == result.captured
    size, batch = settings["image_size"], settings.get("batch", 1)
    for candidate in result.candidates:
        student = set_strides(Forked(), candidate.strides, size)
        bare = capture(student, (batch, 3, size, size)).profile(accounting=settings.get("accounting", "fused"))
        assert (candidate.bare_peak_bytes, candidate.bare_macs) == (bare.peak_bytes, bare.macs)
        red = add_red(student, red_sites(align(student, Forked(), size, rule), REDConfig()), REDConfig())
        full = capture(red, (batch, 3, size, size)).profile(accounting=settings.get("accounting", "fused"))
        assert (candidate.peak_bytes, candidate.macs) == (full.peak_bytes, full.macs)


def test_a_network_with_red_blocks_is_refused_by_that_reason():
    with torch.device("meta"):
        student = insert_red(torchvision.models.resnet18(), {"layer2.0": {"out": 128}}, REDConfig())
    with pytest.raises(ValueError, match="carries RED blocks already"):
        search_strides(student, 64)
    result = search_strides(student, 64, red=None, strides=(1, 2))
    assert result.teacher.macs == capture(student, (1, 3, 64, 64)).profile().macs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget_bytes": 0}, "Memory budget is 0;"),
        ({"budget_bytes": -5}, "Memory budget is -5;"),
        ({"budget_bytes": 1.5}, r"Memory budget is 1\.5;"),
        ({"budget_bytes": True}, "Memory budget is True;"),
        ({"alignment": "by size"}, r"alignment is 'by size'; expected one of \['asynchronous', 'stage-wise'\]"),
        ({"reduction": "less"}, r"reduction is 'less'; expected one of \['same', 'any'\]"),
        ({"strides": ()}, r"Strides to choose from are \[\]"),
        ({"strides": (1, 0)}, r"Strides to choose from are \[1, 0\]"),
        ({"strides": (1, 2.0)}, r"Strides to choose from are \[1, 2\.0\]"),
        ({"strides": (3,)}, "No choice of the strides .3. .* reduces the image 16 times"),
        ({"strides": range(1, 12)}, f"161,051 stride vectors; expected at most {MAX_VECTORS:,}"),
        ({"dtype": "fp8"}, "dtype is 'fp8'"),
        ({"accounting": "lazy"}, "accounting is 'lazy'"),
        ({"batch": 0}, "batch is 0"),
        ({"image_size": "large"}, "Image size is 'large'"),
    ],
)
def test_bad_settings_are_one_clear_error(narrow, settings, words):
    with pytest.raises(ValueError, match=words):
        search_strides(narrow, **settings)


def test_a_model_needs_an_image_size():
    with pytest.raises(ValueError, match="image_size is None"):
        search_strides(build("narrow_resnet"))


def chip(flash: int, ram: int, **settings) -> Room:
    banks = () if settings else (Bank("flash", flash),)
    return Room(Chip("chip", "Chip", (Bank("RAM", ram),), banks, "made up", **settings), 0, 0)


@pytest.mark.parametrize("red", [None, REDConfig()])
def test_what_fits_a_chip_has_room_for_its_weights_too(narrow, red):
    """The best of those that fit both, whatever would be best for its activations alone."""
    alone = search_strides(narrow, red=red)
    profiles = {tuple(c.strides.values()): narrow.profile(c.strides, red=red) for c in alone.candidates}
    files = sorted({profile.file_bytes for profile in profiles.values()})
    for flash in (files[0] - 1, files[0], files[len(files) // 2], files[-1]):
        ram = alone.candidates[len(alone.candidates) // 2].needed_bytes
        found = search_strides(narrow, red=red, room=chip(flash, ram))
        fitting = [c for c in found.candidates if c.fits(ram)]
        assert [c.stored_bytes for c in found.candidates] == [
            profiles[tuple(c.strides.values())].file_bytes for c in found.candidates
        ]
        expected = [p for p in profiles.values() if p.needed_bytes <= ram and p.file_bytes <= flash]
        assert found.fitting == len(fitting) == len(expected) and found.budget_bytes == ram
        kept = max((c.bare_macs for c in fitting), default=None)
        assert [c.bare_macs for c in found.within(ram)[-1:]] == ([] if kept is None else [kept])
        assert all(c.stored_bytes <= flash for c in found.front)


def test_weights_that_are_loaded_share_the_room_with_activations(narrow):
    red = REDConfig()
    alone = search_strides(narrow, red=red)
    both = [narrow.profile(c.strides, red=red) for c in alone.candidates]
    for ram in sorted(p.needed_bytes + p.weight_bytes for p in both)[::9]:
        found = search_strides(narrow, red=red, room=chip(0, ram, loads_weights=True))
        assert found.fitting == sum(p.needed_bytes + p.weight_bytes <= ram for p in both)
        fitting = [c for c in found.candidates if c.fits(ram)]
        assert found.within(ram)[-1].bare_macs == max(c.bare_macs for c in fitting)
