"""From a recording to the program of one setting: pools that became identities taken out, RED blocks put in.

Most of a network stays as recorded. The compiler goes from one place that changes to the next, and copies the steps
in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush

import torch

from ..common.modules import weightless
from ..networks.red import REDBlock, REDConfig
from .blueprint import Blueprint, Call, group_calls
from .program import Program
from .recorder import record
from .recording import ENTER, FREE, WEIGHTS, Node, Recording, Weight, weights_of
from .shape_rules import ShapeRuleError
from .steps import Step, make_step

Sites = Mapping[str, Mapping[str, int]]  # layer path → side → channels, as insert_red takes it


def compile_program(
    blueprint: Blueprint,
    identities: frozenset[int] = frozenset(),
    sites: Sites | None = None,
    config: REDConfig | None = None,
) -> Program:
    """Make a recording ready to count: without the nodes in `identities`, with RED blocks at `sites`.

    Raises `ShapeRuleError` where the recording does not show a single tensor at a site.
    """
    return _Compiler(blueprint, identities, sites or {}, config).compile()


@lru_cache(maxsize=256)
def red_recording(channels: int, config: REDConfig) -> tuple[Recording, list[Weight]]:
    """A RED block of `channels` on its own, recorded once, and its weights."""
    with weightless():
        block = REDBlock(channels, config)
    return record(block, (torch.empty(1, channels, 4, 4, device="meta"),)), weights_of(block)


class _Compiler:
    def __init__(self, blueprint: Blueprint, identities: frozenset[int], sites: Sites, config: REDConfig | None):
        recording = blueprint.recording
        self.blueprint, self.recording = blueprint, recording
        self.identities, self.sites, self.config = identities, sites, config
        self.recorded_values = len(recording.buffer_of)
        self.buffer_of = list(recording.buffer_of)  # per value
        self.alias: dict[int, int] = {}  # value → value that stands in for it
        self.moved: dict[int, int] = {}  # buffer → buffer that lives its life
        self.held: dict[int, int] = {}  # buffer → how many must let go of it, where that is not one
        self.buffer_values = list(blueprint.buffer_values)
        self.itemsizes = list(blueprint.itemsizes)
        self.floats = list(blueprint.floats)
        self.inner = list(blueprint.inner)
        self.sources: list[int] = []
        self.make_room(*blueprint.taken)
        self.steps: list[Step] = []
        self.deaths: list[Sequence[int]] = []
        self.scopes: dict[str, tuple[int, int | None, int]] = {}  # path → (value, earlier alias, buffer of red_in)
        self.used: set[tuple[str, str]] = set()
        self.red_weights: list[Weight] = []
        self.red_blocks: list[tuple[int, Recording]] = []
        self.position = 0  # of the item that is looked at
        self.pending = [blueprint.item_of[node] for node in identities]  # items that are not simply copied, a heap
        self.pending += [item for path in sites for item in blueprint.scopes[path]]
        heapify(self.pending)

    def compile(self) -> Program:
        copied = 0  # items dealt with
        while self.pending:
            self.position = heappop(self.pending)
            if self.position < copied:  # noted more than once
                continue
            self.copy(copied, self.position)
            copied = self.position + 1
            item = self.blueprint.items[self.position]
            if isinstance(item, Call):
                self.call(item)
            elif item[0] == FREE:
                self.free(item[1])
            elif item[0] == ENTER:
                self.enter(item[1], item[2])
            else:
                self.leave(item[1], item[2])
        self.copy(copied, len(self.blueprint.items))
        wanted = {(path, side) for path, sides in self.sites.items() for side in sides}
        if self.used != wanted:
            path, side = min(wanted - self.used)
            raise ShapeRuleError(f"{path!r} has no {side}put on the tape to put a RED block at.")
        return self.finish()

    def copy(self, start: int, end: int) -> None:
        """Add the steps and deaths of items that are as recorded."""
        blueprint = self.blueprint
        first, last = blueprint.step_at[start], blueprint.step_at[end]
        frees, begin, stop = blueprint.frees, blueprint.free_at[start], blueprint.free_at[end]
        if first == last:
            self.die(frees[begin:stop])
            return
        # What dies before the first of these steps does so after an earlier one; some of the last step's comes later.
        self.die(frees[begin : blueprint.free_at[blueprint.item_of_step[first]]])
        self.steps += blueprint.steps[first:last]
        self.deaths += blueprint.deaths[first : last - 1]
        self.deaths.append(frees[blueprint.free_at[blueprint.item_of_step[last - 1]] : stop])

    def die(self, buffers: Sequence[int]) -> None:
        """Let go of buffers after the latest step; there is nothing to let go of before the first."""
        if buffers and self.deaths:
            self.deaths[-1] = (*self.deaths[-1], *buffers)

    def look_at(self, item: int) -> None:
        """Have an item that is still to come looked at rather than copied."""
        if item > self.position:
            heappush(self.pending, item)

    def change(self, value: int) -> None:
        """Note that a value has another buffer, or another value in its place: who reads it is looked at."""
        for item in self.blueprint.readers.get(value, ()):
            self.look_at(item)

    def move(self, gone: int, kept: int) -> None:
        """Let `kept` live the life of the buffer `gone`."""
        self.moved[gone] = kept
        for buffer in (gone, kept):
            if buffer in self.blueprint.free_item:
                self.look_at(self.blueprint.free_item[buffer])

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
            kept = [nodes[index] for index in call.nodes if index not in dropped]
            step, moved = make_step(kept, home, self.inner, self.alias)
            found = self.blueprint.remember(key, (step, [(out, home[out]) for out in moved]))
        step, outs = found
        for out, buffer in outs:
            home[out] = buffer
            self.change(out)
        if step is not None:
            self.steps.append(step)
            self.deaths.append(())

    def drop(self, node: Node) -> None:
        """Take out a pool that became the identity: its output is its input."""
        source, out = self.alias.get(node.ins[0], node.ins[0]), node.outs[0]
        self.alias[out] = source
        self.change(out)
        kept, gone = self.buffer_of[source], self.buffer_of[out]
        if kept != WEIGHTS:
            self.held[kept] = self.held.get(kept, 1) + 1
            self.move(gone, kept)

    def free(self, buffer: int) -> None:
        while buffer in self.moved:
            buffer = self.moved[buffer]
        self.held[buffer] = self.held.get(buffer, 1) - 1
        if not self.held[buffer]:
            self.die((buffer,))

    def enter(self, path: str, value: int | None) -> None:
        if "in" not in self.sites[path] or (path, "in") in self.used:
            return
        before = self.alias.get(value)
        result = self.splice(path, "in", value)
        self.alias[value] = result
        self.change(value)
        self.scopes[path] = (value, before, self.buffer_of[result])

    def leave(self, path: str, value: int | None) -> None:
        scope = self.scopes.pop(path, None)
        if "out" in self.sites[path] and (path, "out") not in self.used:
            result = self.splice(path, "out", value)
            old = self.buffer_of[self.alias.get(value, value)]
            self.die((old,))  # held until REDLayer returns
            self.move(old, self.buffer_of[result])  # whoever held the layer's output now holds the block's
            self.alias[value] = result
            self.change(value)
        if scope:
            value, before, buffer = scope
            self.die((buffer,))
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
        place = self.blueprint.place((path, side), len(block.shapes), len(block.buffers))
        values, buffers = place
        self.make_room(values + len(block.shapes), buffers + len(block.buffers))
        shaped = value if value < self.recorded_values else self.sources[value - self.recorded_values]
        first = values - self.recorded_values
        self.sources[first : first + len(block.shapes)] = [shaped] * len(block.shapes)
        fresh = slice(buffers, buffers + len(block.buffers))
        self.buffer_values[fresh] = [buffer.value + values for buffer in block.buffers]
        self.itemsizes[fresh] = [self.itemsizes[self.buffer_of[value]]] * len(block.buffers)
        self.floats[fresh] = [buffer.is_float for buffer in block.buffers]
        self.inner[fresh] = [buffer.inner for buffer in block.buffers]
        self.red_weights += weights
        self.red_blocks.append((shaped, block))

        key = (path, side, channels, self.config, value, self.buffer_of[value])
        made = self.blueprint.made.get(key)
        if made is None:
            homes = [buffer + buffers if buffer >= 0 else WEIGHTS for buffer in block.buffer_of]
            self.buffer_of[values : values + len(homes)] = homes
            steps, deaths = self.block_steps(block, f"{path}.red_{side}", value, place)
            homes = self.buffer_of[values : values + len(homes)]
            made = self.blueprint.remember(key, (steps, deaths, homes))
        steps, deaths, homes = made
        self.steps += steps
        self.deaths += deaths
        self.buffer_of[values : values + len(homes)] = homes
        return block.outputs[0] + values

    def block_steps(
        self, block: Recording, prefix: str, value: int, place: tuple[int, int]
    ) -> tuple[list[Step], list[tuple[int, ...]]]:
        """The steps of a RED block that takes `value`, and what dies after each; views in it get their buffers."""
        steps: list[Step] = []
        deaths: list[list[int]] = []
        for item in group_calls(block):
            if isinstance(item, Call):
                nodes = [block.nodes[index] for index in item.nodes]
                step, _ = make_step(nodes, self.buffer_of, self.inner, {block.inputs[0]: value}, prefix, *place)
                if step is not None:
                    steps.append(step)
                    deaths.append([])
            elif item[0] == FREE:
                deaths[-1].append(item[1] + place[1])
        return steps, [tuple(freed) for freed in deaths]

    def make_room(self, values: int, buffers: int) -> None:
        """Have numbers of values and buffers up to these; those of places without a block mean nothing."""
        missing = values - len(self.buffer_of)
        self.buffer_of += [WEIGHTS] * missing
        self.sources += [0] * missing
        missing = buffers - len(self.inner)
        self.buffer_values += [0] * missing
        self.itemsizes += [0] * missing
        self.floats += [False] * missing
        self.inner += [False] * missing

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
