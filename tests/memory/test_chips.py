"""Chips: what a program can use of each, and whether activations and weights find room there, each by itself."""

from __future__ import annotations

import re

import pytest

from redistill.cli.commands import main
from redistill.memory.chips import CHIPS, FORMATS, KIB, MIB, Bank, Chip, Room, room_on
from redistill.memory.comparison import compare, network_tape
from redistill.memory.setting import ITEMSIZES
from redistill.networks.student import StudentConfig


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_a_chip_leaves_one_block_and_no_more_than_it_has(chip):
    room = room_on(chip.name)
    assert 0 < room.activations <= chip.block.bytes == max(bank.bytes for bank in chip.ram)
    assert (room.weights is None) == (not chip.flash)
    assert room.weights is None or 0 < room.weights <= max(bank.bytes for bank in chip.flash)
    assert chip.source and chip.title and CHIPS[chip.name] is chip


def test_known_data_sheets():
    assert room_on("stm32h743").activations == 512 * KIB  # not the megabyte that all banks make together
    assert room_on("stm32h743").weights == 2 * MIB - 128 * KIB
    assert room_on("nano33ble", reserve=0).activations == 256 * KIB
    assert room_on("rp2040", reserve=0).activations == 264 * KIB
    assert room_on("portenta-h7").activations == 8 * MIB
    assert room_on("stm32n657").weights is None


def test_what_is_taken_lies_beside_the_largest_block_first():
    chip = Chip("two", "Two", (Bank("large", 512), Bank("small", 64)), (Bank("flash", 100),), "made up")
    for reserve, left in ((0, 512), (64, 512), (65, 511), (575, 1)):
        assert Room(chip, reserve, 0).activations == left
    assert Room(chip, 0, 99).weights == 1


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("rp2040", {"reserve": 264 * KIB}),
        ("rp2040", {"reserve": -1}),
        ("rp2040", {"reserve": True}),
        ("rp2040", {"program": 2 * MIB}),
        ("k210", {"program": -1}),
        ("rp2041", {}),
        (None, {}),
        (["rp2040"], {}),
    ],
)
def test_what_leaves_nothing_or_is_no_chip_is_refused(name, taken):
    with pytest.raises(ValueError, match="expected"):
        room_on(name, **taken)


@pytest.mark.parametrize("red", [True, False])
def test_weights_in_another_format_are_those_counted_in_it(red):
    config = StudentConfig("narrow_resnet", 64, strides={"conv1": 4, "maxpool": 1, "layer4.0": 1})
    config = config if red else StudentConfig("narrow_resnet", 64, red=None)
    profile = compare(config).student
    for name, itemsize in ITEMSIZES.items():
        assert profile.weight_bytes_at(itemsize) == compare(config, dtype=name).student.weight_bytes
    assert profile.weight_bytes_at(None) == profile.weight_bytes


def test_formats_that_fit_and_weights_that_share_the_ram():
    profile = network_tape("resnet18").profile()
    assert room_on("stm32h743").formats_that_fit(profile) == []
    assert room_on("esp32p4").formats_that_fit(profile) == ["int8"]
    assert room_on("k210").formats_that_fit(profile) == list(FORMATS)  # nobody can tell
    both = profile.weight_bytes + profile.needed_bytes
    for size, fits in ((both, True), (both - 1, False)):
        chip = Chip("pc", "PC", (Bank("RAM", size),), (), "made up", loads_weights=True)
        assert Room(chip, 0, 0).weights_fit(profile) is fits


def test_flash_holds_the_file_not_the_weights_alone():
    profile = network_tape("narrow_resnet").profile(dtype="int8")
    assert profile.file_bytes > profile.weight_bytes
    for size, fits in ((profile.file_bytes, True), (profile.file_bytes - 1, False), (profile.weight_bytes, False)):
        chip = Chip("chip", "Chip", (Bank("RAM", MIB),), (Bank("flash", size),), "made up")
        assert Room(chip, 0, 0).weights_fit(profile) is fits


def test_the_shell_tells_activations_and_weights_apart(capsys):
    assert main(["memory", "resnet50", "--chip", "stm32h743", "--dtype", "int8", "--no-red"]) == 0
    said = capsys.readouterr().out
    assert "teacher on STM32H743: activations, " in said and "do not fit 524,288 bytes" in said
    assert "does not fit in any format" in said and "of flash" in said
    assert main(["memory", "resnet18", "--chip", "esp32s3-psram", "--no-red"]) == 0
    assert "would in int8" in capsys.readouterr().out
    assert main(["search", "narrow_resnet", "--chip", "max78000", "--reserve", "64KiB"]) == 0
    said = capsys.readouterr().out
    assert "fit 65,536 bytes" in said and re.search("[0-9]+ best of [0-9]+ that fit", said)
    assert main(["search", "mobilenet_v2", "--chip", "rp2350", "--dtype", "int8"]) == 0
    said = capsys.readouterr().out
    assert "2 best of 2 that fit" in said and "Of 11 more the weights find no room in 4,063,232 bytes" in said
    assert main(["chips"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(CHIPS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("memory resnet18 --chip rp2041", "rp2350"),
        ("memory resnet18 --reserve 64KiB", "--chip"),
        ("search resnet18 --program 64KiB", "--chip"),
        ("search resnet18 --chip rp2350 --budget 1MiB", "one of them"),
        ("memory resnet18 --chip rp2350 --reserve 1MiB", "reserve is 1048576"),
        ("memory resnet18 --chip rp2350 --reserve much", "much"),
    ],
)
def test_the_shell_refuses_in_a_sentence(line, said, capsys):
    assert main(line.split()) != 0
    assert said in capsys.readouterr().err


def test_what_the_caller_holds_takes_of_the_chip_too(capsys):
    """Under ExecuTorch, whose plan leaves the input to the caller, in memory and search alike."""
    network = ["--image-size", "64", "--no-red", "--accounting", "executorch", "--chip", "stm32u5a5"]
    config = StudentConfig("narrow_resnet", 64, red=None)
    planned, held = compare(config, "executorch").teacher, compare(config).teacher
    image = 3 * 64 * 64 * 4
    assert (planned.needed_bytes, held.needed_bytes) == (planned.peak_bytes + image, held.peak_bytes)
    reserve = sum(bank.bytes for bank in CHIPS["stm32u5a5"].ram) - planned.peak_bytes - image
    needed = f"activations, {planned.needed_bytes:,} bytes ({planned.needed_bytes / 2**20:.3f} MiB),"
    for more, said in ((0, f"{needed} fit"), (1, f"{needed} do not fit")):
        assert main(["memory", "narrow_resnet", *network, "--reserve", str(reserve + more)]) == 0
        assert said in capsys.readouterr().out
    assert main(["search", "narrow_resnet", *network, "--reserve", str(reserve)]) == 0
    said = capsys.readouterr().out
    assert f"fit {planned.needed_bytes:,} bytes" in said
    row = next(line.split() for line in said.splitlines() if line.startswith("teacher"))
    assert row[2:4] == [f"{planned.needed_bytes:,}", f"{planned.peak_bytes:,}"]
