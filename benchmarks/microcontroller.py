"""Shipped classifiers as C programs for microcontrollers: the RAM that is planned, what compilers make of it, answers.

    python -m benchmarks.microcontroller [--quick] [--json FILE]

A row a network: bytes of the arena that is planned and what must be alive; the static RAM that the C compiler here
gives the file (its `size`); and of a Cortex-M4, where Debian's gcc-arm-none-eabi is installed ("-" where not), static
RAM, code and constants, and the deepest chain of stack frames; last, where qemu-system-arm is installed too, on how
many of 8 test pictures a firmware of nothing but the file, a vector table and 20 lines gives the same numbers on an
emulated board (mps2-an386) as here. `--quick` takes the smallest.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from redistill.deploy.c_compiler import run_program, sizes_of, weighed
from redistill.deploy.c_export import integer_program
from redistill.deploy.c_source import EXAMPLE, c_name, source_of
from redistill.deploy.judged import counted_bytes
from redistill.deploy.opened import open_network, pictures_of

NAMES = ("emoji-clutter-student", "emoji-clutter-teacher", "emoji-identity-features")
ARM, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
ARM_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=c99", "-mcpu=cortex-m4", "-mthumb", "-ffreestanding")
PICTURES = 8

# A firmware: the pictures in flash, the numbers said by semihosting. The stack begins at the end of the first 4 MiB.
MAIN = r"""
#include <stdint.h>
uint8_t *NAME_input(void);
const uint8_t *NAME_run(void);
extern const uint8_t pictures[COUNT][INPUT];

static int semihosting(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void reset(void) {
  for (int i = 0; i < COUNT; i++) {
    for (int j = 0; j < INPUT; j++) NAME_input()[j] = pictures[i][j];
    const uint8_t *out = NAME_run();
    for (int j = 0; j < OUTPUTS; j++) {
      char text[3] = {"0123456789abcdef"[out[j] >> 4], "0123456789abcdef"[out[j] & 15], 0};
      semihosting(4, text);
    }
  }
  semihosting(24, (const void *)0x20026); /* the program has ended */
  for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {(void *)0x20400000, (void *)reset};
"""
LINKER = """
ENTRY(reset)
SECTIONS {
  . = 0x0;
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) }
  . = 0x20000000;
  .bss (NOLOAD) : { *(.bss*) *(COMMON) }
  /DISCARD/ : { *(.ARM.exidx*) *(.comment) }
}
"""


def row(name: str) -> dict[str, Any]:
    """What a network's program plans, takes and answers."""
    opened = open_network(name)
    _, program, places = integer_program(opened)
    source = source_of(program, places, name, opened.metadata.class_names, [])
    pictures = pictures_of(opened).images[:PICTURES].numpy()
    numbers, milliseconds = run_program(source, EXAMPLE, pictures, program.output.bytes)
    found = {
        "network": name,
        "macs": program.macs,
        "live": places.live_bytes,
        "planned": places.bytes,
        "counted": counted_bytes(opened, "C"),
        "ram": weighed(source).ram_bytes,
        "milliseconds": milliseconds,
    }
    with tempfile.TemporaryDirectory() as folder:
        return found | on_arm(Path(folder), source, c_name(name), pictures, numbers)


def on_arm(folder: Path, source: str, name: str, pictures: np.ndarray, numbers: np.ndarray) -> dict[str, Any]:
    """What a compiler for a Cortex-M4 makes of a file, and what an emulated board answers; None where neither is."""
    if shutil.which(ARM) is None:
        return dict.fromkeys(("arm_ram", "arm_flash", "stack", "same"))
    (folder / "network.c").write_text(source)
    subprocess.run([ARM, *ARM_FLAGS, "-fstack-usage", "-c", "network.c", "-o", "network.o"], cwd=folder, check=True)
    weight = sizes_of(folder / "network.o", "arm-none-eabi-size")
    frames = dict(re.findall(r":(\w+)\t(\d+)\t", (folder / "network.su").read_text()))
    kernels = [int(size) for function, size in frames.items() if not function.endswith(("_run", "_input"))]
    stack = int(frames[f"{name}_run"]) + max(kernels)
    found = {"arm_ram": weight.ram_bytes, "arm_flash": weight.flash_bytes, "stack": stack}
    if shutil.which(QEMU) is None:
        return found | {"same": None}
    said = firmware(folder, name, pictures, numbers.shape[1])
    return found | {"same": int((said == numbers).all(1).sum())}


def firmware(folder: Path, name: str, pictures: np.ndarray, outputs: int) -> np.ndarray:
    """The numbers that the program says of pictures on an emulated Cortex-M4, uint8 (N, outputs)."""
    given = pictures.transpose(0, 2, 3, 1).reshape(len(pictures), -1)
    count, size = given.shape
    values = {"NAME": name, "COUNT": str(count), "INPUT": str(size), "OUTPUTS": str(outputs)}
    main = re.sub(r"\b(COUNT|INPUT|OUTPUTS)\b|NAME(?=_)", lambda found: values[found[0]], MAIN)
    rows = ",\n".join("{" + ", ".join(map(str, picture)) + "}" for picture in given.tolist())
    (folder / "main.c").write_text(f"{main}\nconst uint8_t pictures[{count}][{size}] = {{\n{rows}}};\n")
    (folder / "board.ld").write_text(LINKER)
    command = [ARM, *ARM_FLAGS, "-nostdlib", "-T", "board.ld", "main.c", "network.o", "-lgcc", "-o", "board.elf"]
    subprocess.run(command, cwd=folder, check=True)
    board = [QEMU, "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    asked = [*board, "-semihosting-config", "enable=on,target=native", "-kernel", "board.elf"]
    done = subprocess.run(asked, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    return np.frombuffer(bytes.fromhex((done.stdout + done.stderr).strip()), np.uint8).reshape(count, outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        "| network | MACs | alive | planned | counted | RAM here | RAM, Cortex-M4 | flash | stack | same of 8 |\n"
        + "| --- " * 10
        + "|"
    )
    rows = []
    for name in NAMES[:1] if options.quick else NAMES:
        found = row(name)
        rows.append(found)
        keys = ("macs", "live", "planned", "counted", "ram", "arm_ram", "arm_flash", "stack", "same")
        told = ["-" if found[key] is None else f"{found[key]:,}" for key in keys]
        print(f"| {name} | {' | '.join(told)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    apart = max(abs(found["ram"] - found["planned"]) for found in rows)
    arm = [found["arm_ram"] - found["planned"] for found in rows if found["arm_ram"] is not None]
    same = [found["same"] for found in rows if found["same"] is not None]
    print(
        f"microcontroller networks={len(rows)} ram_bytes_apart={apart} cortex_m4_bytes_apart={max(arm, default='-')} "
        f"pictures_equal={sum(same)}/{PICTURES * len(same)}"
    )


if __name__ == "__main__":
    main()
