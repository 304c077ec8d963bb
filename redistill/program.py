"""A recording made ready to count: views resolved, operators of one call joined to a step, RED blocks put in.

A `Program` knows no sizes; timelines.py counts it at those of one evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch

from .ghost import weightless
from .macs import block_macs, products, total_macs
from .recorder import record
from .red import REDBlock, REDConfig
from .shape_rules import Shape, ShapeRuleError
from .tape import ENTER, FREE, OP, WEIGHTS, Event, Node, Recording, Weight, weights_of

Sites = Mapping[str, Mapping[str, int]]  # layer path → side → channels, as insert_red takes it


class Step(NamedTuple):
    """One call from Python that does more than look at a buffer."""

    title: str
    layer: str
    is_red: bool
    in_place_able: bool
    is_conv: bool
    is_add: bool
    reads: tuple[int, ...]  # buffers
    operands: tuple[tuple[int, int], ...]  # (value, buffer) that may be overwritten
    result: int  # value made last
    writes: tuple[int, ...]  # buffers that the model itself writes in place
    births: tuple[int, ...]
    touched: tuple[int, ...]  # reads, writes and births


class Fusion(NamedTuple):
    """A convolution that can do the addition after it, and where it would accumulate."""

    add: int  # step of the addition
    other: int  # buffer of the operand that is there first
    is_written: bool  # the addition is in place, into that buffer
    norm: int  # step of the batch norm between the two, or -1


@dataclass
class Program:
    """Steps over numbered buffers. `sources` names, for each value past the recorded ones, a value of its shape."""

    steps: list[Step]
    deaths: list[list[int]]  # per step: buffers that Python lets go of after it
    buffer_values: list[int]
    itemsizes: list[int]
    floats: list[bool]
    sources: list[int]
    inputs: list[int]  # buffers
    outputs: list[int]
    output_values: list[int]
    last: list[int]  # per buffer: the last step that touches it; len(steps) for outputs, -1 for never
    red_weights: list[Weight]  # of the RED blocks put in
    red_steps: list[int]
    red_blocks: list[tuple[int, Recording]]  # those put in, each with the value that it stands behind
    blueprint: Blueprint

    @cached_property
    def fusions(self) -> dict[int, Fusion]:
        """Additions that the convolution before them can do, by step of the convolution."""
        return _fusions(self.steps)

    def shapes(self, recorded: list[Shape]) -> list[Shape]:
        """Shapes of all values from those of the recorded ones."""
        shapes = list(recorded)
        for source in self.sources:
            shapes.append(shapes[source])
        return shapes

    def macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates at these shapes, RED blocks included."""
        return self.blueprint.macs(shapes) + self.red_macs(shapes)

    def red_macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates of the RED blocks put in."""
        return sum(block_macs(block, shapes[value]) for value, block in self.red_blocks)


class _Draft:
    """A step while its operators are still being added."""

    def __init__(self, node: Node, layer: str, is_red: bool) -> None:
        self.title, self.layer, self.is_red = node.title, layer, is_red
        self.in_place_able = True
        self.is_conv = self.is_add = False
        self.reads: list[int] = []
        self.operands: list[tuple[int, int]] = []
        self.result = -1
        self.writes: list[int] = []
        self.births: list[int] = []

    def finish(self) -> Step:
        touched = tuple(dict.fromkeys((*self.reads, *self.writes, *self.births)))
        return Step(
            self.title,
            self.layer,
            self.is_red,
            self.in_place_able and len(self.births) == 1,
            self.is_conv,
            self.is_add,
            tuple(dict.fromkeys(self.reads)),
            tuple(pair for pair in dict.fromkeys(self.operands) if pair[1] not in self.births),
            self.result,
            tuple(dict.fromkeys(self.writes)),
            tuple(self.births),
            touched,
        )


class Call(NamedTuple):
    """The operators of one call and the step that they make while nothing before them changes (None: a view)."""

    nodes: list[int]
    values: set[int]  # that they read
    step: Step | None


class Blueprint:
    """A recording with its steps made once, so that a program of it only makes those anew that change."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.items: list[Call | Event] = []
        self.products = products(recording)
        for event in recording.events:
            if event[0] != OP:
                self.items.append(event)
                continue
            node, last = recording.nodes[event[1]], self.items[-1] if self.items else None
            if isinstance(last, Call) and recording.nodes[last.nodes[0]].call == node.call:
                last.nodes.append(event[1])
                last.values.update(node.ins)
            else:
                self.items.append(Call([event[1]], set(node.ins), None))
        compiler = _Compiler(self, frozenset(), {}, None)
        for i, item in enumerate(self.items):
            if isinstance(item, Call):
                before = len(compiler.steps)
                compiler.nodes(item)
                if len(compiler.steps) > before:
                    self.items[i] = item._replace(step=compiler.steps[-1].finish())

    def macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates of the network as recorded, at these shapes."""
        return total_macs(self.products, shapes)


class _Compiler:
    def __init__(self, blueprint: Blueprint, identities: frozenset[int], sites: Sites, config: REDConfig | None):
        recording = blueprint.recording
        self.blueprint, self.recording = blueprint, recording
        self.identities, self.sites, self.config = identities, sites, config
        self.changed: set[int] = set()  # values that have another buffer or are replaced by another value
        self.buffer_of = list(recording.buffer_of)  # per value
        self.alias: dict[int, int] = {}  # value → value that stands in for it
        self.moved: dict[int, int] = {}  # buffer → buffer that lives its life
        self.held = [1] * len(recording.buffers)
        self.buffer_values = [buffer.value for buffer in recording.buffers]
        self.itemsizes = [buffer.itemsize for buffer in recording.buffers]
        self.floats = [buffer.is_float for buffer in recording.buffers]
        self.inner = [buffer.inner for buffer in recording.buffers]
        self.sources: list[int] = []
        self.steps: list[Step | _Draft] = []
        self.deaths: list[list[int]] = []
        self.call: object = None
        self.scopes: dict[str, tuple[int, int | None, int]] = {}  # path → (value, earlier alias, buffer of red_in)
        self.used: set[tuple[str, str]] = set()
        self.red_weights: list[Weight] = []
        self.red_blocks: list[tuple[int, Recording]] = []

    def compile(self) -> Program:
        identities, changed = self.identities, self.changed
        for item in self.blueprint.items:
            if isinstance(item, Call):
                if changed.isdisjoint(item.values) and identities.isdisjoint(item.nodes):
                    if item.step is not None:
                        self.steps.append(item.step)
                        self.deaths.append([])
                else:
                    self.nodes(item)
            elif item[0] == FREE:
                self.free(item[1])
            elif item[1] in self.sites:
                (self.enter if item[0] == ENTER else self.leave)(item[1], item[2])
        wanted = {(path, side) for path, sides in self.sites.items() for side in sides}
        if self.used != wanted:
            path, side = min(wanted - self.used)
            raise ShapeRuleError(f"{path!r} has no {side}put on the tape to put a RED block at.")
        return self.finish()

    def nodes(self, call: Call) -> None:
        for index in call.nodes:
            node = self.recording.nodes[index]
            if index in self.identities:
                self.drop(node)
            else:
                self.node(node, "", 0, 0, None)

    def node(self, node: Node, prefix: str, values: int, buffers: int, ports: dict[int, int] | None) -> None:
        """Add an operator. In a RED block, numbers are offset by `values` and `buffers`; `ports` maps its input."""
        buffer_of, alias = self.buffer_of, self.alias
        if ports is None:
            ins = [alias.get(value, value) for value in node.ins] if alias else node.ins
            outs, new = node.outs, node.new
        else:
            ins = [ports.get(value, value + values) for value in node.ins]
            outs = [value + values for value in node.outs]
            new = [buffer + buffers for buffer in node.new]
        for out, source in zip(outs, node.sources, strict=True):
            if source >= 0:
                buffer = buffer_of[ins[source]]
                if buffer != buffer_of[out]:
                    buffer_of[out] = buffer
                    self.changed.add(out)
        if node.is_view:
            return
        call = (prefix, node.call)
        if call != self.call:
            self.call = call
            layer = ".".join(filter(None, (prefix, node.layer))) if prefix else node.layer
            self.steps.append(_Draft(node, layer, node.is_red or bool(prefix)))
            self.deaths.append([])
        draft = self.steps[-1]
        inner = self.inner
        draft.in_place_able &= node.in_place_able
        draft.is_conv |= node.op == "convolution"
        draft.is_add = node.op in ("add", "add_")
        for value in ins:
            buffer = buffer_of[value]
            if buffer != WEIGHTS and not inner[buffer]:
                draft.reads.append(buffer)
                draft.operands.append((value, buffer))
        born = [buffer for buffer in new if not inner[buffer]]
        draft.births += born
        if not new:
            draft.writes += [buffer_of[out] for out in outs if buffer_of[out] != WEIGHTS and not inner[buffer_of[out]]]
        draft.result = outs[0] if outs else -1

    def drop(self, node: Node) -> None:
        """Take out a pool that became the identity: its output is its input."""
        source, out = self.alias.get(node.ins[0], node.ins[0]), node.outs[0]
        self.alias[out] = source
        self.changed.add(out)
        kept, gone = self.buffer_of[source], self.buffer_of[out]
        if kept != WEIGHTS:
            self.moved[gone] = kept
            self.held[kept] += 1

    def free(self, buffer: int) -> None:
        while buffer in self.moved:
            buffer = self.moved[buffer]
        self.held[buffer] -= 1
        if not self.held[buffer] and self.deaths:
            self.deaths[-1].append(buffer)

    def enter(self, path: str, value: int | None) -> None:
        if "in" not in self.sites[path] or (path, "in") in self.used:
            return
        before = self.alias.get(value)
        result = self.splice(path, "in", value)
        self.alias[value] = result
        self.changed.add(value)
        self.scopes[path] = (value, before, self.buffer_of[result])

    def leave(self, path: str, value: int | None) -> None:
        scope = self.scopes.pop(path, None)
        if "out" in self.sites[path] and (path, "out") not in self.used:
            result = self.splice(path, "out", value)
            old = self.buffer_of[self.alias.get(value, value)]
            new = self.buffer_of[result]
            self.deaths[-1].append(old)  # held until REDLayer returns
            self.moved[old] = new  # whoever held the layer's output now holds the block's
            self.alias[value] = result
            self.changed.add(value)
        if scope:
            value, before, buffer = scope
            self.deaths[-1].append(buffer)
            self.alias.pop(value)
            if before is not None:
                self.alias[value] = before

    def splice(self, path: str, side: str, value: int | None) -> int:
        """Put a RED block behind `value`; returns the value that it makes."""
        if value is None:
            raise ShapeRuleError(f"{path!r} takes or gives no single tensor, so no RED block can be put there.")
        self.used.add((path, side))
        value = self.alias.get(value, value)
        block, weights = red_recording(self.sites[path][side], self.config)
        self.red_weights += weights
        self.red_blocks.append((value, block))
        values, buffers = len(self.buffer_of), len(self.buffer_values)
        self.sources += [value] * len(block.shapes)
        self.buffer_of += [buffer + buffers if buffer >= 0 else WEIGHTS for buffer in block.buffer_of]
        for buffer in block.buffers:
            self.buffer_values.append(buffer.value + values)
            self.itemsizes.append(self.itemsizes[self.buffer_of[value]])
            self.floats.append(buffer.is_float)
            self.inner.append(buffer.inner)
            self.held.append(1)
        ports = {block.inputs[0]: value}
        prefix = f"{path}.red_{side}"
        for event in block.events:
            if event[0] == OP:
                self.node(block.nodes[event[1]], prefix, values, buffers, ports)
            elif event[0] == FREE:
                self.free(event[1] + buffers)
        return block.outputs[0] + values

    def finish(self) -> Program:
        recording, home = self.recording, self.buffer_of
        steps = [step.finish() if isinstance(step, _Draft) else step for step in self.steps]
        last = [-1] * len(self.buffer_values)
        for i, step in enumerate(steps):
            for buffer in step.touched:
                last[buffer] = i
        output_values = [self.alias.get(value, value) for value in recording.outputs]
        outputs = [buffer for buffer in dict.fromkeys(home[value] for value in output_values) if buffer != WEIGHTS]
        for buffer in outputs:
            last[buffer] = len(steps)
        return Program(
            steps=steps,
            deaths=self.deaths,
            buffer_values=self.buffer_values,
            itemsizes=self.itemsizes,
            floats=self.floats,
            sources=self.sources,
            inputs=list(dict.fromkeys(home[value] for value in recording.inputs)),
            outputs=outputs,
            output_values=output_values,
            last=last,
            red_weights=self.red_weights,
            red_steps=[i for i, step in enumerate(steps) if step.is_red],
            red_blocks=self.red_blocks,
            blueprint=self.blueprint,
        )


def compile_program(
    blueprint: Blueprint,
    identities: frozenset[int] = frozenset(),
    sites: Sites | None = None,
    config: REDConfig | None = None,
) -> Program:
    """Make a recording ready to count: without the nodes in `identities`, with RED blocks at `sites`."""
    return _Compiler(blueprint, identities, sites or {}, config).compile()


@lru_cache(maxsize=256)
def red_recording(channels: int, config: REDConfig) -> tuple[Recording, list[Weight]]:
    """A RED block of `channels` on its own, recorded once, and its weights."""
    with weightless():
        block = REDBlock(channels, config)
    return record(block, (torch.empty(1, channels, 4, 4, device="meta"),)), weights_of(block)


def _fusions(steps: Sequence[Step]) -> dict[int, Fusion]:
    """Additions that the convolution before them can do itself, accumulating into the other operand's buffer.

    The convolution, with the batch norm folded into it, must be the later of the two operands and used by nothing
    else, and nobody may touch the other operand in between.
    """
    touching: dict[int, list[int]] = {}
    born: dict[int, int] = {}
    for i, step in enumerate(steps):
        for buffer in step.touched:
            touching.setdefault(buffer, []).append(i)
        for buffer in step.births:
            born[buffer] = i

    def maker(buffer: int, end: int) -> int | None:
        """The step that makes `buffer`, if only that step and `end` touch it until then."""
        start = born.get(buffer)
        return start if start is not None and touching[buffer][:2] == [start, end] else None

    found = {}
    for i, step in enumerate(steps):
        if not step.is_add or len(step.reads) != 2:
            continue
        late, other = sorted(step.reads, key=lambda buffer: born.get(buffer, -1), reverse=True)
        conv, norm = maker(late, i), -1
        if conv is not None and steps[conv].title == "batch_norm" and len(steps[conv].reads) == 1:
            conv, norm = maker(steps[conv].reads[0], conv), conv
        if conv is not None and steps[conv].is_conv and not any(conv <= j < i for j in touching[other]):
            found[conv] = Fusion(i, other, other in step.writes, norm)
    return found
