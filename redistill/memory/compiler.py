"""From a recording to the program of one setting: pools that became identities taken out, RED blocks put in.

Most of a network stays as recorded, so that most of its steps are made once. Those that differ are remembered by all
that they depend on: other strides ask for much of the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import torch

from ..common.modules import weightless
from ..networks.red import SQUEEZES, Channels, REDBlock, REDConfig
from .macs import products, total_macs
from .program import Program, Traced
from .recorder import record
from .recording import ENTER, FREE, OP, WEIGHTS, Buffer, Node, Recording, Weights, weights_of
from .shape_rules import ShapeRuleError
from .steps import Step, make_step

Sites = Mapping[str, Mapping[str, Channels]]  # layer path → side → channels, as insert_red takes it
FrozenSites = tuple[tuple[str, tuple[tuple[str, Channels], ...]], ...]  # the same, hashable

MADE_KEPT = 20_000  # steps and RED blocks that a network remembers
Item = tuple[int, Any, int | None]  # an event, filled up with None
EMPTY = Buffer(value=0, itemsize=0, is_float=False, call=0)  # of a place without a block


def frozen_sites(sites: Sites) -> FrozenSites:
    """The same sites as nested tuples."""
    return tuple((path, tuple(sides.items())) for path, sides in sites.items())


class Call(NamedTuple):
    """The operators of one call from Python, the values they read, and the step they are as recorded."""

    nodes: list[int]
    values: set[int]
    step: Step | None
    traced: Traced


def join_calls(recording: Recording) -> list[Item]:
    """The events of a recording in their order, those of one call's operators joined: (OP, nodes, None)."""
    items: list[Item] = []
    calls: dict[int, list[int]] = {}
    for kind, what, *value in recording.events:
        if kind != OP:
            items.append((kind, what, value[0] if value else None))
            continue
        call = recording.nodes[what].call
        if call not in calls:
            calls[call] = []
            items.append((OP, calls[call], None))
        calls[call].append(what)
    return items


class REDRecording(NamedTuple):
    """A RED block, recorded on its own."""

    recording: Recording
    weights: Weights
    macs: int  # multiply-accumulates a pixel


@lru_cache(maxsize=256)
def red_recording(channels: int, config: REDConfig) -> REDRecording:
    """A RED block of `channels`, recorded once."""
    with weightless():
        block = REDBlock(channels, config)
    recording = record(block, ((torch.empty(1, channels, 1, 1, device="meta"),), {}))
    return REDRecording(recording, weights_of(block)[0], total_macs(products(recording), recording.shapes))


class Blueprint:
    """A recording ready to be compiled again and again. Threads may use one at once."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.products = products(recording)
        self.made: dict[tuple, Any] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._next_place = count()
        largest = red_recording(1, REDConfig(residual_squeeze=SQUEEZES[-1])).recording  # all others do with less
        self.width = len(largest.shapes), len(largest.buffers)  # what values and buffers of a RED block are given
        self.items: list[Item] = []  # the recording's, with a `Call` for the nodes of each
        home = list(recording.buffer_of)
        for kind, what, value in join_calls(recording):
            if kind == OP:
                nodes = [recording.nodes[index] for index in what]
                step, _ = make_step(nodes, home, recording.buffers, {})
                what = Call(what, {value for node in nodes for value in node.ins}, step, Traced(nodes, {}))
            self.items.append((kind, what, value))

    def place(self, path: str, side: str) -> int:
        """The number of the place for a RED block that belongs to this side of a layer, from now on."""
        key = (path, side)
        if key not in self._places:
            self._places.setdefault(key, next(self._next_place))  # of two threads the first one's number counts
        return self._places[key]

    def first_value(self, place: int) -> int:
        """The number of the first value of a RED block at this place."""
        return len(self.recording.shapes) + place * self.width[0]

    def remember(self, key: tuple, value: Any) -> Any:
        """Keep `value` under `key` in `made`; all is forgotten at once when it has become much."""
        if len(self.made) >= MADE_KEPT:
            self.made.clear()
        self.made[key] = value
        return value


def compile_program(
    blueprint: Blueprint,
    identities: frozenset[int] = frozenset(),
    sites: FrozenSites = (),
    config: REDConfig | None = None,
) -> Program:
    """Make a recording ready to count: without the nodes in `identities`, with RED blocks at `sites`.

    Raises `ShapeRuleError` where the recording does not show a single tensor at a site.
    """
    return _Compiler(blueprint, identities, {path: dict(sides) for path, sides in sites}, config).compile()


class _Compiler:
    def __init__(self, blueprint: Blueprint, identities: frozenset[int], sites: Sites, config: REDConfig | None):
        recording = blueprint.recording
        self.blueprint, self.recording = blueprint, recording
        self.identities, self.sites, self.config = identities, sites, config
        self.alias: dict[int, int] = {}  # value → value that stands in for it
        self.changed = {recording.nodes[index].ins[0] for index in identities}
        # ^ values with another buffer, another value in their place or a reader that goes: who reads them is made anew
        self.moved: dict[int, int] = {}  # buffer → buffer that lives its life
        self.held: dict[int, int] = {}  # buffer → how many must let go of it, where that is not one
        self.steps: list[Step] = []
        self.deaths: list[list[int]] = []
        self.calls: list[Traced] = []
        self.scopes: dict[str, tuple[int, int | None, int]] = {}  # path → (value, earlier alias, buffer of red_in)
        self.red_weights = Weights()
        self.red_macs_at: list[tuple[int, int]] = []
        # Values and buffers of RED blocks are numbered by place, whichever other blocks there are.
        self.places = {(path, side): blueprint.place(path, side) for path, sides in sites.items() for side in sides}
        room = 1 + max(self.places.values(), default=-1)
        self.width = blueprint.width
        self.buffer_of = recording.buffer_of + [WEIGHTS] * room * self.width[0]  # per value
        self.sources = [(0, 0)] * room * self.width[0]
        self.buffers = recording.buffers + [EMPTY] * room * self.width[1]

    def compile(self) -> Program:
        changed, moved, held, sites = self.changed, self.moved, self.held, self.sites
        for kind, what, value in self.blueprint.items:
            if kind == OP:
                if changed.isdisjoint(what.values):
                    step = what.step
                    self.calls.append(what.traced)
                else:
                    step = self.call(what)
                if step is not None:
                    self.steps.append(step)
                    self.deaths.append([])
            elif kind == FREE:
                if what in moved or what in held:
                    self.free(what)
                else:
                    self.die(what)
            elif what in sites:
                (self.enter if kind == ENTER else self.leave)(what, value)
        if self.places:
            path, side = min(self.places)
            raise ShapeRuleError(f"{path!r} has no {side}put on the tape to put a RED block at.")
        return self.finish()

    def die(self, buffer: int) -> None:
        """Let go of a buffer after the latest step; there is nothing to let go of before the first."""
        if self.deaths:
            self.deaths[-1].append(buffer)

    def call(self, call: Call) -> Step | None:
        """The step of a call whose inputs have changed; its views follow to where they look now."""
        home, nodes = self.buffer_of, self.recording.nodes
        dropped = self.identities.intersection(call.nodes)
        for index in dropped:
            self.drop(nodes[index])
        ins = [self.alias.get(value, value) for value in call.values]
        key = (call.nodes[0], dropped, *ins, *[home[value] for value in ins])
        found = self.blueprint.made.get(key)
        kept = [nodes[index] for index in call.nodes if index not in dropped]
        self.calls.append(Traced(kept, {value: self.alias[value] for value in call.values if value in self.alias}))
        if found is None:
            step, moved = make_step(kept, home, self.buffers, self.alias)
            found = self.blueprint.remember(key, (step, [(out, home[out]) for out in moved]))
        step, outs = found
        for out, buffer in outs:
            home[out] = buffer
            self.changed.add(out)
        return step

    def drop(self, node: Node) -> None:
        """Take out a pool that became the identity: its output is its input."""
        source, out = self.alias.get(node.ins[0], node.ins[0]), node.outs[0]
        self.alias[out] = source
        self.changed.add(out)
        kept, gone = self.buffer_of[source], self.buffer_of[out]
        if kept != WEIGHTS:
            self.held[kept] = self.held.get(kept, 1) + 1
            self.moved[gone] = kept

    def free(self, buffer: int) -> None:
        while buffer in self.moved:
            buffer = self.moved[buffer]
        self.held[buffer] = self.held.get(buffer, 1) - 1
        if not self.held[buffer]:
            self.die(buffer)

    def enter(self, path: str, value: int | None) -> None:
        if not any((path, side) in self.places for side in self.sites[path]):
            raise ShapeRuleError(f"{path!r} runs more than once, with its RED blocks each time; capture it anew.")
        if (path, "in") not in self.places:
            return
        before = self.alias.get(value)
        result = self.splice(path, "in", value)
        self.alias[value] = result
        self.changed.add(value)
        self.scopes[path] = (value, before, self.buffer_of[result])

    def leave(self, path: str, value: int | None) -> None:
        scope = self.scopes.pop(path, None)
        if (path, "out") in self.places:
            result = self.splice(path, "out", value)
            old = self.buffer_of[self.alias.get(value, value)]
            if scope is None or old != scope[2]:  # a pool that became the identity gives the block before it, which
                self.die(old)  # dies below, with the scope; others are held until REDLayer returns
            self.moved[old] = self.buffer_of[result]  # whoever held the layer's output now holds the block's
            self.alias[value] = result
            self.changed.add(value)
        if scope:
            value, before, buffer = scope
            self.die(buffer)
            self.alias.pop(value)
            if before is not None:
                self.alias[value] = before

    def splice(self, path: str, side: str, value: int | None) -> int:
        """Put a RED block behind `value`, on the first call of a layer; returns the value that it makes."""
        if value is None:
            raise ShapeRuleError(f"{path!r} takes or gives no single tensor, so no RED block can be put there.")
        place = self.places.pop((path, side))
        value = self.alias.get(value, value)
        channels = self.sites[path][side]
        if not isinstance(channels, int):
            raise ShapeRuleError(f"{path!r} takes or gives tokens, between which a RED block is captured anew.")
        block, weights, macs = red_recording(channels, self.config)
        recorded = len(self.recording.shapes)
        values = self.blueprint.first_value(place)
        buffers = len(self.recording.buffers) + place * self.width[1]
        shaped = value if value < recorded else self.sources[value - recorded][0]
        first, end = values - recorded, values - recorded + len(block.shapes)
        others = [shape[1] if len(shape) == 4 and shape[1] != channels else 0 for shape in block.shapes]
        self.sources[first:end] = [(shaped, other) for other in others]
        self.red_weights += weights
        self.red_macs_at.append((shaped, macs))

        key = (path, side, channels, self.config, value, self.buffer_of[value])
        made = self.blueprint.made.get(key)
        if made is None:
            made = self.blueprint.remember(key, self.block(block, f"{path}.red_{side}", value, values, buffers))
        steps, deaths, own, homes = made
        self.calls.append(Traced(block.nodes, {block.inputs[0]: value}, values, f"{path}.red_{side}"))
        self.steps += steps
        self.deaths += [list(freed) for freed in deaths]
        self.buffers[buffers : buffers + len(own)] = own
        self.buffer_of[values : values + len(homes)] = homes
        return block.outputs[0] + values

    def block(self, block: Recording, prefix: str, value: int, values: int, buffers: int) -> tuple[list, ...]:
        """What a RED block at this place adds when it takes `value`.

        That is its steps, what dies after each, its buffers, and the buffer of each of its values.
        """
        itemsize = self.buffers[self.buffer_of[value]].itemsize
        own = [Buffer(made.value + values, itemsize, made.is_float, made.call, made.inner) for made in block.buffers]
        self.buffers[buffers : buffers + len(own)] = own
        homes = slice(values, values + len(block.shapes))
        self.buffer_of[homes] = [buffer + buffers if buffer >= 0 else WEIGHTS for buffer in block.buffer_of]
        steps: list[Step] = []
        deaths: list[list[int]] = []
        for kind, what, _ in join_calls(block):
            if kind == OP:
                nodes = [block.nodes[index] for index in what]
                ports = {block.inputs[0]: value}
                step, _ = make_step(nodes, self.buffer_of, self.buffers, ports, prefix, values, buffers)
                if step is not None:
                    steps.append(step)
                    deaths.append([])
            elif kind == FREE:
                deaths[-1].append(what + buffers)
        return steps, deaths, own, self.buffer_of[homes]

    def finish(self) -> Program:
        recording, home, steps = self.recording, self.buffer_of, self.steps
        last = [-1] * len(self.buffers)
        for i, step in enumerate(steps):
            for buffer in step.touched:
                last[buffer] = i
        outputs = dict.fromkeys(home[self.alias.get(value, value)] for value in recording.outputs)
        outputs.pop(WEIGHTS, None)
        for buffer in outputs:
            last[buffer] = len(steps)
        return Program(
            steps=steps,
            deaths=self.deaths,
            buffers=self.buffers,
            sources=self.sources,
            inputs=list(dict.fromkeys(home[value] for value in recording.inputs)),
            outputs=list(outputs),
            last=last,
            products=self.blueprint.products,
            red_macs_at=self.red_macs_at,
            red_weights=self.red_weights,
            calls=self.calls,
            home=home,
            output_values=[self.alias.get(value, value) for value in recording.outputs],
            roomy=[(buffer, made.room) for buffer, made in enumerate(recording.buffers) if made.room >= 0],
        )
