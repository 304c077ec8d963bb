"""A recording made ready to count: views resolved, operators of one call joined to a step, RED blocks put in.

A `Program` knows no sizes; timelines.py counts it at those of one evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch

from .ghost import weightless
from .macs import block_macs, products, total_macs
from .recorder import record
from .red import REDBlock, REDConfig
from .shape_rules import Shape, ShapeRuleError
from .steps import Fusion, Step, find_fusions
from .tape import ENTER, FREE, LEAVE, OP, WEIGHTS, Event, Node, Recording, Weight, weights_of

ITEMS_KEPT = 256  # sets of layers with RED blocks whose items a network remembers
MADE_KEPT = 20_000  # steps and RED blocks that a network remembers
Sites = Mapping[str, Mapping[str, int]]  # layer path → side → channels, as insert_red takes it


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
        return find_fusions(self.steps)

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


class Call(NamedTuple):
    """The operators of one call from Python, the values they read, and the step they make (None: only views).

    The step is that of the network as recorded: while nothing before the call changes.
    """

    nodes: list[int]
    values: set[int]
    step: Step | None


def group_calls(recording: Recording) -> list[Call | Event]:
    """The events of a recording, operators of one call joined; their steps are still to be made."""
    items: list[Call | Event] = []
    calls: dict[int, Call] = {}
    for event in recording.events:
        if event[0] != OP:
            items.append(event)
            continue
        node = recording.nodes[event[1]]
        if node.call in calls:
            calls[node.call].nodes.append(event[1])
            calls[node.call].values.update(node.ins)
        else:
            calls[node.call] = Call([event[1]], set(node.ins), None)
            items.append(calls[node.call])
    return items


class Blueprint:
    """A recording with its steps made once, so that a program of it only makes those anew that change.

    `made` keeps what was made anew as well, by all that it depends on: other strides ask for much of it again.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.products = products(recording)
        self.made: dict[tuple, Any] = {}
        self.items = group_calls(recording)
        self.buffer_values = [buffer.value for buffer in recording.buffers]
        self.itemsizes = [buffer.itemsize for buffer in recording.buffers]
        self.floats = [buffer.is_float for buffer in recording.buffers]
        self.inner = [buffer.inner for buffer in recording.buffers]
        self._items_at: dict[frozenset[str], list[Call | Event]] = {}
        compiler = _Compiler(self, frozenset(), {}, None)
        for i, item in enumerate(self.items):
            if isinstance(item, Call):
                self.items[i] = item._replace(step=compiler.make(item, recording.nodes, {}))

    def items_at(self, paths: frozenset[str]) -> list[Call | Event]:
        """The items without those that enter or leave a layer, but for the layers at `paths`."""
        if paths not in self._items_at:
            if len(self._items_at) >= ITEMS_KEPT:
                self._items_at.clear()
            self._items_at[paths] = [
                item
                for item in self.items
                if isinstance(item, Call) or item[0] == FREE or (item[0] in (ENTER, LEAVE) and item[1] in paths)
            ]
        return self._items_at[paths]

    def remember(self, key: tuple, value: Any) -> Any:
        """Keep `value` under `key`; all is forgotten at once when it has become much."""
        if len(self.made) >= MADE_KEPT:
            self.made.clear()
        self.made[key] = value
        return value

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
        self.buffer_values = list(blueprint.buffer_values)
        self.itemsizes = list(blueprint.itemsizes)
        self.floats = list(blueprint.floats)
        self.inner = list(blueprint.inner)
        self.sources: list[int] = []
        self.steps: list[Step] = []
        self.deaths: list[list[int]] = []
        self.scopes: dict[str, tuple[int, int | None, int]] = {}  # path → (value, earlier alias, buffer of red_in)
        self.used: set[tuple[str, str]] = set()
        self.red_weights: list[Weight] = []
        self.red_blocks: list[tuple[int, Recording]] = []

    def compile(self) -> Program:
        identities, changed = self.identities, self.changed
        for item in self.blueprint.items_at(frozenset(self.sites)):
            if isinstance(item, Call):
                if changed.isdisjoint(item.values) and identities.isdisjoint(item.nodes):
                    if item.step is not None:
                        self.steps.append(item.step)
                        self.deaths.append([])
                else:
                    self.call(item)
            elif item[0] == FREE:
                self.free(item[1])
            elif item[0] == ENTER:
                self.enter(item[1], item[2])
            else:
                self.leave(item[1], item[2])
        wanted = {(path, side) for path, sides in self.sites.items() for side in sides}
        if self.used != wanted:
            path, side = min(wanted - self.used)
            raise ShapeRuleError(f"{path!r} has no {side}put on the tape to put a RED block at.")
        return self.finish()

    def call(self, call: Call) -> None:
        """Add the step of a call whose inputs have changed, and follow its views to where they look now."""
        home, nodes = self.buffer_of, self.recording.nodes
        dropped = self.identities.intersection(call.nodes)
        for index in dropped:
            self.drop(nodes[index])
        ins = [self.alias.get(value, value) for value in call.values]
        key = (call.nodes[0], dropped, *ins, *[home[value] for value in ins])
        found = self.blueprint.made.get(key)
        if found is None:
            step = self.make(call, nodes, self.alias)
            outs = [out for index in call.nodes for out in nodes[index].outs if out in self.changed]
            found = self.blueprint.remember(key, (step, [(out, home[out]) for out in outs]))
        step, outs = found
        for out, buffer in outs:
            home[out] = buffer
            self.changed.add(out)
        if step is not None:
            self.steps.append(step)
            self.deaths.append([])

    def make(
        self,
        call: Call,
        nodes: Sequence[Node],
        ports: Mapping[int, int],
        prefix: str = "",
        values: int = 0,
        buffers: int = 0,
    ) -> Step | None:
        """The step of a call, None where it only looks; views among its outputs get the buffer they look at.

        `ports` are values that others stand in for. In a RED block, which stands at the path `prefix`, all other
        numbers are offset by `values` and `buffers`.
        """
        home, inner = self.buffer_of, self.inner
        title = layer = ""
        is_red, in_place_able, is_conv, is_add = bool(prefix), True, False, False
        operands: list[tuple[int, int]] = []
        writes: list[int] = []
        births: list[int] = []
        result = -1
        for index in call.nodes:
            node = nodes[index]
            if not prefix and index in self.identities:
                continue
            ins = [ports.get(value, value + values) for value in node.ins]
            outs = [out + values for out in node.outs]
            for out, source in zip(outs, node.sources, strict=True):
                if source >= 0 and home[out] != home[ins[source]]:
                    home[out] = home[ins[source]]
                    self.changed.add(out)
            if node.is_view:
                continue
            title, layer = title or node.title, layer or node.layer
            is_red |= node.is_red
            in_place_able &= node.in_place_able
            is_conv |= node.op == "convolution"
            is_add = node.op in ("add", "add_")
            operands += [(value, home[value]) for value in ins if home[value] != WEIGHTS and not inner[home[value]]]
            births += [buffer + buffers for buffer in node.new if not inner[buffer + buffers]]
            if not node.new:
                writes += [home[out] for out in outs if home[out] != WEIGHTS and not inner[home[out]]]
            result = outs[0] if outs else -1
        if not title:
            return None
        reads = [buffer for _, buffer in operands]
        return Step(
            title,
            ".".join(filter(None, (prefix, layer))),
            is_red,
            in_place_able and len(births) == 1,
            is_conv,
            is_add,
            tuple(dict.fromkeys(reads)),
            tuple(pair for pair in dict.fromkeys(operands) if pair[1] not in births),
            result,
            tuple(dict.fromkeys(writes)),
            tuple(births),
            tuple(dict.fromkeys((*reads, *writes, *births))),
        )

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
        channels = self.sites[path][side]
        block, weights = red_recording(channels, self.config)
        self.red_weights += weights
        self.red_blocks.append((value, block))
        values, buffers = len(self.buffer_of), len(self.buffer_values)
        self.sources += [value] * len(block.shapes)
        self.buffer_values += [buffer.value + values for buffer in block.buffers]
        self.itemsizes += [self.itemsizes[self.buffer_of[value]]] * len(block.buffers)
        self.floats += [buffer.is_float for buffer in block.buffers]
        self.inner += [buffer.inner for buffer in block.buffers]

        key = (path, side, channels, self.config, value, self.buffer_of[value], values, buffers)
        made = self.blueprint.made.get(key)
        if made is None:
            first = len(self.steps)
            self.put(block, f"{path}.red_{side}", value)
            deaths = [tuple(freed) for freed in self.deaths[first:]]
            made = (self.steps[first:], deaths, self.buffer_of[values:], self.held[buffers:])
            self.blueprint.remember(key, made)
        else:
            steps, deaths, homes, held = made
            self.steps += steps
            self.deaths += [list(freed) for freed in deaths]
            self.buffer_of += homes
            self.held += held
        return block.outputs[0] + values

    def put(self, block: Recording, prefix: str, value: int) -> None:
        """Add the steps of a RED block that takes `value`."""
        values, buffers = len(self.buffer_of), len(self.held)
        self.buffer_of += [buffer + buffers if buffer >= 0 else WEIGHTS for buffer in block.buffer_of]
        self.held += [1] * len(block.buffers)
        for item in group_calls(block):
            if isinstance(item, Call):
                step = self.make(item, block.nodes, {block.inputs[0]: value}, prefix, values, buffers)
                if step is not None:
                    self.steps.append(step)
                    self.deaths.append([])
            elif item[0] == FREE:
                self.free(item[1] + buffers)

    def finish(self) -> Program:
        recording, home = self.recording, self.buffer_of
        steps = self.steps
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
