"""Chips and boards: the memory that a program can use there, as data sheets state it, and what a network finds room in.

A network's tensors lie in one arena, so the largest single block of RAM bounds it, not the sum of all banks; what a
runtime, stacks and the rest take may lie in another bank where there is one. How much that is no data sheet says:
`reserve` and `program` are assumptions, to be replaced by what a build of one's own takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..common.units import in_bytes
from ..common.values import is_whole
from .file_size import CLOSENESS, KINDS
from .profile import MemoryProfile

KIB, MIB, GIB = 2**10, 2**20, 2**30
FORMATS = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes of a weight, from the largest


@dataclass(frozen=True)
class Bank:
    """Memory at consecutive addresses."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Chip:
    """What a chip, or a board with it, has; sizes in bytes."""

    name: str
    title: str
    ram: tuple[Bank, ...]  # in which data of a program can lie; memory for code alone, caches and backup are left out
    flash: tuple[Bank, ...]  # empty: none of its own, or of no size that could bound a network
    source: str
    reserve: int = 32 * KIB  # of RAM: runtime, stacks, buffers of the program; assumed
    program: int = 128 * KIB  # of flash: code of runtime and program; assumed
    loads_weights: bool = False  # weights are read into RAM, and share it with the activations

    @property
    def block(self) -> Bank:
        """The largest block of RAM."""
        return max(self.ram, key=lambda bank: bank.bytes)


@dataclass(frozen=True)
class Room:
    """What a chip leaves to a network, in bytes. ValueError where the rest takes all there is."""

    chip: Chip
    reserve: int
    program: int

    def __post_init__(self) -> None:
        for name, taken, banks in (
            ("reserve", self.reserve, self.chip.ram),
            ("program", self.program, self.chip.flash),
        ):
            total = sum(bank.bytes for bank in banks)
            if not is_whole(taken, 0) or (banks and taken >= total):
                what = "RAM" if name == "reserve" else "flash"
                most = f"less than the {total:,} of {what} that {self.chip.title} has" if banks else "0 or more"
                raise ValueError(f"{name} is {str(taken)[:40]} bytes; expected a whole number of bytes, {most}.")

    @property
    def activations(self) -> int:
        """Bytes for activations, in one block; with weights that are loaded, for both."""
        return min(self.chip.block.bytes, sum(bank.bytes for bank in self.chip.ram) - self.reserve)

    @property
    def weights(self) -> int | None:
        """Bytes of flash for the file with the weights, in one block; None where that is not bounded by the chip."""
        if not self.chip.flash:
            return None
        largest = max(bank.bytes for bank in self.chip.flash)
        return min(largest, sum(bank.bytes for bank in self.chip.flash) - self.program)

    def stored_bytes(self, profile: MemoryProfile) -> int:
        """Bytes that a network's weights take here: loaded into RAM, or the file in flash that it is exported to."""
        return profile.file_bytes if self.weights is not None else profile.weight_bytes

    def beside(self, stored: int) -> int:
        """Bytes for activations beside weights that take so many (`stored_bytes`): none where they find no room."""
        if self.chip.loads_weights:
            return max(0, self.activations - stored)
        return self.activations if self.weights is None or stored <= self.weights else 0

    def weights_fit(self, profile: MemoryProfile) -> bool | None:
        """Whether the file that a network is exported to finds room in flash, or its weights beside its activations
        where they are loaded; None where nobody can tell."""
        return self._weights_fit(profile, profile.itemsize)

    def formats_that_fit(self, profile: MemoryProfile) -> list[str]:
        """The formats of `FORMATS` in which they would, whatever the network is counted in."""
        return [name for name, itemsize in FORMATS.items() if self._weights_fit(profile, itemsize) is not False]

    def _weights_fit(self, profile: MemoryProfile, itemsize: int | None) -> bool | None:
        if self.chip.loads_weights:
            return profile.weight_bytes_at(itemsize) + profile.needed_bytes <= self.activations
        return None if self.weights is None else profile.file_bytes_at(itemsize) <= self.weights

    def told(self, title: str, profile: MemoryProfile, dtype: str) -> list[str]:
        """Whether activations and weights of a network fit, each by itself, in a sentence each."""
        fits = "fit" if profile.needed_bytes <= self.activations else "do not fit"
        needed = f"activations, {in_bytes(profile.needed_bytes)}, {fits} {in_bytes(self.activations)}"
        said, where = [f"{title} on {self.chip.title}: {needed}"], f"{in_bytes(self.weights or 0)} of flash"
        taken = f"the {KINDS[profile.file_kind]} file, {in_bytes(profile.file_bytes)} within {CLOSENESS:.0%},"
        if self.weights is None:
            taken, where = f"weights, {in_bytes(profile.weight_bytes)},", "beside the activations in RAM"
            if not self.chip.loads_weights:
                return [*said, f"{title}: {taken} have no flash of {self.chip.title} for them"]
        formats, is_fit = self.formats_that_fit(profile), self.weights_fit(profile)
        fits = (
            f"fits in {dtype}" if is_fit else f"does not fit in {dtype}" if formats else "does not fit in any format:"
        )
        other = "" if is_fit or not formats else f", but would in {formats[0]}"
        return [*said, f"{title}: {taken} {fits} {where}{other}"]


def room_on(name: str, reserve: int | None = None, program: int | None = None) -> Room:
    """What a chip of `CHIPS` leaves when so many bytes of RAM and flash are taken; None for what is assumed of it.

    Raises ValueError for a name that is none, and where nothing is left.
    """
    if not isinstance(name, str) or name not in CHIPS:
        raise ValueError(f"chip is {str(name)[:40]!r}; expected one of {list(CHIPS)}.")
    chip = CHIPS[name]
    return Room(chip, chip.reserve if reserve is None else reserve, chip.program if program is None else program)


def _banks(**kib: int) -> tuple[Bank, ...]:
    return tuple(Bank(name.replace("_", " "), size * KIB) for name, size in kib.items())


_H7 = _banks(AXI_SRAM=512, SRAM1_to_3=288, DTCM=128, SRAM4=64)
_S3 = _banks(SRAM1_and_2=448)  # 512, less SRAM0 for code (32) and the data cache (32)
_P4 = _banks(L2MEM=640)  # 768, less the level-2 cache (128 as ESP-IDF sets it)
_IDF = 96 * KIB  # an empty program of ESP-IDF 5 leaves 391,000 bytes of an ESP32-S3's 448 KiB
_MBED = 64 * KIB
_ALL = (
    Chip("stm32h743", "STM32H743", _H7, _banks(flash=2048), "ST RM0433, memory map; DS12110"),
    Chip(
        "stm32h750",
        "STM32H750",
        _H7,
        _banks(flash=128),
        "ST RM0433, memory map; DS12556; Zephyr's stm32h750Xb.dtsi",
        program=64 * KIB,
    ),
    Chip(
        "stm32u575",
        "STM32U575 / U585",
        _banks(SRAM1_to_3=768, SRAM4=16),
        _banks(flash=2048),
        "ST RM0456, memory map; DS13737",
    ),
    Chip(
        "stm32u5a5",
        "STM32U5A5",
        _banks(SRAM1_to_3_and_5=2496, SRAM4=16),
        _banks(flash=4096),
        "ST RM0456, memory map; Zephyr's stm32u5a5Xj.dtsi",
    ),
    Chip(
        "stm32n657",
        "STM32N657",
        _banks(AXISRAM1_to_6=3840),  # FLEXRAM 400, 624, 1024, four of 448; without the NPU's cache and the encoder's
        (),
        "ST RM0486, memory map: no flash inside",
    ),
    Chip("esp32s3", "ESP32-S3", _S3, _banks(flash=8192), "Espressif TRM, System and Memory; WROOM-1-N8", reserve=_IDF),
    Chip(
        "esp32s3-psram",
        "ESP32-S3, 8 MB PSRAM",
        (*_S3, Bank("PSRAM", 8 * MIB)),
        _banks(flash=16384),
        "Espressif TRM, System and Memory; WROOM-1-N16R8",
        reserve=_IDF,
    ),
    Chip("esp32p4", "ESP32-P4", _P4, _banks(flash=16384), "Espressif data sheet; Function-EV-Board", reserve=_IDF),
    Chip(
        "esp32p4-psram",
        "ESP32-P4, 32 MB PSRAM",
        (*_P4, Bank("PSRAM", 32 * MIB)),
        _banks(flash=16384),
        "Espressif data sheet, ESP32-P4NRW32; Function-EV-Board",
        reserve=_IDF,
    ),
    Chip(
        "rp2040",
        "RP2040 (Pico)",
        _banks(SRAM=264),
        _banks(flash=2048),
        "RP2040 data sheet; Raspberry Pi Pico product brief",
    ),
    Chip("rp2350", "RP2350 (Pico 2)", _banks(SRAM=520), _banks(flash=4096), "RP2350 data sheet; Pico 2 data sheet"),
    Chip(
        "nano33ble",
        "Arduino Nano 33 BLE",
        _banks(RAM=256),
        _banks(flash=1024),
        "Nordic nRF52840 product specification; Arduino ABX00030",
        reserve=_MBED,
    ),
    Chip(
        "portenta-h7",
        "Arduino Portenta H7",
        (Bank("SDRAM", 8 * MIB), *_H7),
        _banks(QSPI_flash=16384, flash=2048),
        "Arduino ABX00042 data sheet (8 MB SDRAM, 16 MB QSPI flash); ST RM0399",
        reserve=_MBED,
    ),
    Chip(
        "nrf5340",
        "nRF5340",
        _banks(RAM=512),
        _banks(flash=1024),
        "Nordic nRF5340 product specification, application core; Zephyr's nrf5340_cpuapp_qkaa.dtsi",
    ),
    Chip(
        "max78000",
        "MAX78000, its Cortex-M4",  # its CNN accelerator has memory of its own, a share for each channel
        _banks(SRAM=128),
        _banks(flash=512),
        "Analog Devices MAX78000 data sheet",
    ),
    Chip(
        "alif-e8",
        "Alif Ensemble E8",
        _banks(SRAM0=4096, SRAM1=4096, DTCM=1024),
        _banks(MRAM=5632),
        "Alif AWPR0003 (RAM regions); E8 data sheet: 9.75 MB SRAM, 5.5 MB MRAM",
    ),
    Chip("k210", "Kendryte K210", _banks(SRAM=6144, AI_SRAM=2048), (), "Kendryte K210 data sheet: no flash inside"),
    Chip(
        "jetson-orin-nano-4gb",
        "Jetson Orin Nano 4GB",
        (Bank("LPDDR5", 4 * GIB),),
        (),
        "NVIDIA Jetson Orin Nano series data sheet: CPU and GPU share it",
        reserve=2 * GIB,
        loads_weights=True,
    ),
    Chip(
        "jetson-orin-nano-8gb",
        "Jetson Orin Nano 8GB",
        (Bank("LPDDR5", 8 * GIB),),
        (),
        "NVIDIA Jetson Orin Nano series data sheet: CPU and GPU share it",
        reserve=2 * GIB,
        loads_weights=True,
    ),
    Chip(
        "pixel-8",
        "Google Pixel 8 (phone)",
        (Bank("LPDDR5X", 8 * GIB),),
        (),
        "reports at its launch: 8 GB LPDDR5X; Google's own page was not seen",
        reserve=6 * GIB,
        loads_weights=True,
    ),
    Chip(
        "pixel-8-pro",
        "Google Pixel 8 Pro (phone)",
        (Bank("LPDDR5X", 12 * GIB),),
        (),
        "reports at its launch: 12 GB LPDDR5X; Google's own page was not seen",
        reserve=8 * GIB,
        loads_weights=True,
    ),
    Chip(
        "galaxy-s24",
        "Samsung Galaxy S24 (phone)",
        (Bank("LPDDR5X", 8 * GIB),),
        (),
        "Android Authority, 17 January 2024: 8 GB LPDDR5X; Samsung's own page was not seen",
        reserve=6 * GIB,
        loads_weights=True,
    ),
    Chip(
        "iphone-15",
        "Apple iPhone 15 (phone)",
        (Bank("RAM", 6 * GIB),),
        (),
        "Android Authority, 17 January 2024: 6 GB; Apple states none",
        reserve=4 * GIB,
        loads_weights=True,
    ),
)
CHIPS: Mapping[str, Chip] = {chip.name: chip for chip in _ALL}
