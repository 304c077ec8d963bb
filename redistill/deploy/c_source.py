"""An integer program as one C99 file: constants, one static arena, the kernels used, and a call of one each step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import fill

import numpy as np

from .c_arena import Places
from .c_kernels import KERNELS, PRELUDE, ROUNDING
from .int8_step import IntegerNetwork, Step

TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "int64": "int64_t"}
EXAMPLE = "WITH_MAIN"  # defined where the file is to be a program of its own
WIDTH = 118


def c_name(name: str) -> str:
    """A network's name as an identifier."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "network"
    return f"net_{plain}" if plain[0].isdigit() else plain


def source_of(
    network: IntegerNetwork, places: Places, name: str, class_names: Sequence[str], facts: Sequence[str]
) -> str:
    """The file's text.

    class_names: of each output, else numbers stand for them; facts: sentences for the comment at its top.
    """
    prefix = c_name(name)
    if len(class_names) != network.output.bytes:
        class_names = [str(i) for i in range(network.output.bytes)]
    constants = _Constants(network.steps)
    used = list(dict.fromkeys(step.kernel for step in network.steps))
    parts = [
        _head(network, places, prefix, facts),
        *([PRELUDE] if set(used) & set(ROUNDING) else []),
        *(KERNELS[kernel] for kernel in used),
        *constants.texts,
        _functions(network, places, prefix, constants.names),
        _example(prefix, class_names),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _head(network: IntegerNetwork, places: Places, prefix: str, facts: Sequence[str]) -> str:
    taken, given = network.input, network.output
    told = [
        *facts,
        f"In a program of your own: put the picture, {taken.height} rows of {taken.width} pixels of {taken.channels} "
        f"bytes from 0 to 255, into {prefix}_input(), and {prefix}_run() gives {given.bytes} numbers, the largest for "
        f"the likeliest class. Both lie in the arena, so that a run writes over the picture. A number q stands for "
        f"the logit {prefix.upper()}_SCALE * (q - {prefix.upper()}_ZERO).",
        f"As a program on a computer: cc -O2 -std=c99 -D{EXAMPLE} THIS_FILE -o network",
        f"and then: convert PICTURE -resize {taken.width}x{taken.height}! -depth 8 rgb:- | ./network",
    ]
    comment = "\n".join(fill(_plain(line), WIDTH, break_long_words=False, break_on_hyphens=False) for line in told)
    return f"""
/*
{comment}
*/
#include <stdint.h>

#define {prefix.upper()}_SCALE {given.scale!r}f
#define {prefix.upper()}_ZERO {given.zero}
enum {{ {prefix}_input_bytes = {taken.bytes}, {prefix}_outputs = {given.bytes} }};
uint8_t *{prefix}_input(void);
const uint8_t *{prefix}_run(void);

static uint8_t arena[{places.bytes}]; /* all that it needs of RAM, the stack apart */
"""


def _plain(text: str) -> str:
    """Fit for a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")


class _Constants:
    """The struct of every step, and the arrays that it points to; what two steps have in common stands there once."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.texts: list[str] = []
        self.names: list[str] = []  # of each step's struct
        self._arrays: dict[int, str] = {}  # name of each, by its identity
        self._structs: dict[tuple[str, str], str] = {}  # name of each, by kernel and body
        for i, step in enumerate(steps):
            self._add(i, step)

    def _add(self, i: int, step: Step) -> None:
        arrays, fields = [], []
        for name, value in step.fields.items():
            if isinstance(value, np.ndarray):
                if id(value) not in self._arrays:
                    self._arrays[id(value)] = f"{name}_{i}"
                    arrays.append(_array(f"{name}_{i}", value))
                value = self._arrays[id(value)]
            fields.append(f".{name} = {value}")
        body = fill(", ".join(fields), WIDTH, initial_indent="  ", subsequent_indent="  ")
        if (step.kernel, body) not in self._structs:
            self._structs[step.kernel, body] = f"step_{i}"
            text = f"{''.join(arrays)}static const {step.kernel}_t step_{i} = {{\n{body}}};"
            self.texts.append(f"/* {_plain(step.layer)} */\n{text}")
        self.names.append(self._structs[step.kernel, body])


def _array(name: str, values: np.ndarray) -> str:
    suffix = "LL" if values.dtype == np.int64 else ""
    text = fill(", ".join(f"{value}{suffix}" for value in values.reshape(-1).tolist()), WIDTH)
    return f"static const {TYPES[values.dtype.name]} {name}[{values.size}] = {{\n{text}}};\n"


def _functions(network: IntegerNetwork, places: Places, prefix: str, structs: Sequence[str]) -> str:
    calls = []
    for step, struct in zip(network.steps, structs, strict=True):
        at = ", ".join(f"arena + {places.offsets[map.name]}" for map in (*step.inputs, step.output))
        calls.append(f"  {step.kernel}(&{struct}, {at});")
    return f"""
uint8_t *{prefix}_input(void) {{ return arena + {places.offsets[network.input.name]}; }}

const uint8_t *{prefix}_run(void) {{
{chr(10).join(calls)}
  return arena + {places.offsets[network.output.name]};
}}
"""


def _example(prefix: str, class_names: Sequence[str]) -> str:
    names = ",\n  ".join(c_string(name) for name in class_names)
    return f"""
#ifdef {EXAMPLE} /* pictures one after another on the standard input; of each, a line of its numbers and its class */
#include <stdio.h>

static const char *const classes[] = {{
  {names}}};

int main(void) {{
  while (fread({prefix}_input(), 1, {prefix}_input_bytes, stdin) == {prefix}_input_bytes) {{
    const uint8_t *out = {prefix}_run();
    int best = 0;
    for (int i = 0; i < {prefix}_outputs; i++) {{
      printf("%d ", out[i]);
      if (out[i] > out[best]) best = i;
    }}
    printf("%s\\n", classes[best]);
  }}
  return ferror(stdin) || fflush(stdout) ? 1 : 0;
}}
#endif
"""


def c_string(text: str) -> str:
    """A string literal of C, in ASCII and of one line."""
    safe = set(range(32, 127)) - set(b'"\\?')
    given = " ".join(text.split()).encode()
    return '"' + "".join(chr(byte) if byte in safe else f"\\{byte:03o}" for byte in given) + '"'
