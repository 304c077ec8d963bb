"""Which maps a recorded pass makes of which, and the layers up to which it can be computed patch by patch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, prod

from ..networks.patches import MapOp, NotPatchable, Stage, kept_results, make_stage, reads_of, writes
from .compiler import Blueprint, red_recording
from .macs import operator_macs
from .recording import ENTER, LEAVE, OP, Buffer, Node
from .setting import Setting
from .shape_rules import Shape
from .sides import Measures


@dataclass(frozen=True)
class Split:
    """A layer that leaves nothing but one map behind for all that runs after it."""

    upto: str  # its path
    value: int  # the map
    buffer: int  # that holds it
    ops: int  # of the flow, before its end
    steps: int  # of the program


@dataclass
class Flow:
    """The operators on maps from the image on, as far as patches can go, and where layers end."""

    shapes: Sequence[Shape]  # of all values
    source: int
    ops: list[MapOp] = field(default_factory=list)
    costs: dict[int, int] = field(default_factory=dict)  # MACs of a whole batch for one place of the map
    buffers: dict[int, Buffer] = field(default_factory=dict)  # that maps lie in, for what a number takes
    ends: dict[str, tuple[Split, int]] = field(default_factory=dict)  # by path; with the number of nodes before
    runs: Counter[str] = field(default_factory=Counter)  # how often each module ran
    refusal: str = ""  # the first operator that patches cannot do
    made: dict[int, int] = field(default_factory=dict)  # node that made a value of the image
    used: dict[int, float] = field(default_factory=dict)  # last node that uses it; inf for the network's outputs
    nodes: int = 0

    def splits(self) -> list[Split]:
        """Those that differ by more than what goes place by place: the last and largest layer of each."""
        windows = list(accumulate((op.reads is not None for op in self.ops), initial=0))
        found = {windows[split.ops]: split for path, (split, _) in self.ends.items() if not self.reason(path)}
        return list(found.values())

    def stage(self, upto: str) -> tuple[Split, Stage]:
        """The stage up to a layer; ValueError, in one sentence, where there is none."""
        reason = self.reason(upto)
        if reason:
            raise ValueError(f"Patches cannot be computed up to {str(upto)[:80]!r}: {reason}.")
        split = self.ends[upto][0]
        return split, make_stage(self.ops[: split.ops], self.shapes, self.source, split.value)

    def reason(self, upto: str) -> str:
        """Why patches cannot be computed up to a layer; empty where they can."""
        if upto not in self.runs:
            return "it is no layer of the network that runs"
        if self.runs[upto] > 1:
            return "it runs more than once"
        if upto not in self.ends:
            return self.refusal or "it gives no single map of the image"
        split, nodes = self.ends[upto]
        stray = [v for v, place in self.made.items() if place < nodes <= self.used.get(v, -1) and v != split.value]
        if stray:
            return "what follows it looks at maps of before it too"
        if self.used.get(split.value, -1) < nodes:
            return "nothing looks at what it gives"
        try:
            make_stage(self.ops[: split.ops], self.shapes, self.source, split.value)
        except NotPatchable as error:
            return str(error)
        return ""


def map_flow(blueprint: Blueprint, setting: Setting) -> Flow:
    """The flow of a recording at one setting, RED blocks included."""
    return _Walk(blueprint, setting).walk()


class _Walk:
    def __init__(self, blueprint: Blueprint, setting: Setting) -> None:
        self.blueprint, self.setting, self.recording = blueprint, setting, blueprint.recording
        self.sites = {path: dict(sides) for path, sides in setting.sites}
        self.measures = Measures(setting.shapes, range(len(setting.shapes)))
        self.alias: dict[int, int] = {}  # value → value that stands in for it
        self.entered: dict[str, tuple[int, int | None]] = {}  # path → (value, earlier alias), where a RED block is
        self.flow = Flow(setting.shapes, self.recording.inputs[0])
        self.flow.made[self.flow.source] = -1
        made = [(step.result, (*step.births, *step.writes)) for step in setting.program.steps]
        self.homes = {value: buffers[0] for value, buffers in made if buffers}
        self.maps = {self.flow.source}
        self.flow.buffers[self.flow.source] = self.buffer(self.flow.source, [])
        self.steps = 0

    def walk(self) -> Flow:
        for kind, what, value in self.blueprint.items:
            if kind == OP:
                self.call(what.nodes)
            elif kind == ENTER:
                self.flow.runs[what] += 1
                if "in" in self.sites.get(what, ()):
                    self.entered[what] = value, self.alias.get(value)
                    self.alias[value] = self.red_block(what, "in", value)
            elif kind == LEAVE:
                self.leave(what, value)
        self.flow.used.update((self.now(value), inf) for value in self.recording.outputs)
        if len(self.recording.inputs) > 1:
            self.flow.refusal, self.flow.ends = "the network takes more than an image", {}
        return self.flow

    def now(self, value: int) -> int:
        return self.alias.get(value, value)

    def call(self, nodes: Sequence[int]) -> None:
        edits, counts = self.setting.edits, False
        for index in nodes:
            node = self.recording.nodes[index]
            if index in edits.identities:
                self.alias[node.outs[0]] = self.now(node.ins[0])
                continue
            if index in edits.rules:
                args = edits.rules[index][1]
            else:
                args = node.args if node.sized is None else self.measures.resolve(node.sized)
            ins = [self.now(value) for value in node.ins]
            self.node(node, args, ins, list(node.outs), [self.flow.shapes[value] for value in ins], node.layer)
            counts |= not node.is_view
        self.steps += counts

    def leave(self, path: str, value: int | None) -> None:
        before = self.entered.pop(path, None)
        if "out" in self.sites.get(path, ()):
            self.end_inside(f"{path}.layer", value)
            self.alias[value] = self.red_block(path, "out", value)
        self.end(path, value)
        if before:
            self.alias.pop(before[0])
            if before[1] is not None:
                self.alias[before[0]] = before[1]

    def end(self, path: str, value: int | None) -> None:
        """Note where a layer ends."""
        last = None if value is None else self.now(value)
        if last in self.maps and not self.flow.refusal and self.is_whole(last):
            split = Split(path, last, self.homes[last], len(self.flow.ops), self.steps)
            self.flow.ends[path] = split, self.flow.nodes

    def end_inside(self, path: str, value: int) -> None:
        """The same of a layer that only a student with RED blocks has."""
        self.flow.runs[path] += 1
        self.end(path, value)

    def is_whole(self, value: int) -> bool:
        """Whether a map fills a buffer that a step of its own has made."""
        home = self.homes.get(value)
        made = None if home is None else self.setting.program.buffers[home].value
        return made is not None and prod(self.flow.shapes[made]) == prod(self.flow.shapes[value])

    def red_block(self, path: str, side: str, value: int) -> int:
        block = red_recording(self.sites[path][side], self.setting.red).recording
        first = self.blueprint.first_value(self.blueprint.place(path, side))
        taken, calls = self.now(value), set()
        for kind, what, *_ in block.events:
            if kind == OP:
                node = block.nodes[what]
                ins = [taken if v == block.inputs[0] else v + first for v in node.ins]
                shapes = [
                    self.flow.shapes[v] if v in self.maps else block.shapes[own]
                    for v, own in zip(ins, node.ins, strict=True)
                ]
                layer = ".".join(filter(None, (f"{path}.red_{side}", node.layer)))
                self.node(node, node.args, ins, [v + first for v in node.outs], shapes, layer)
                if not node.is_view:
                    calls.add(node.call)
        self.steps += len(calls)
        self.end_inside(f"{path}.red_{side}", block.outputs[0] + first)
        return block.outputs[0] + first

    def buffer(self, out: int, ins: list[int]) -> Buffer:
        """What a map lies in; inside a RED block in numbers like its own map's."""
        if out < len(self.recording.shapes):
            return self.recording.buffers[self.recording.buffer_of[out]]
        return next(self.flow.buffers[value] for value in ins if value in self.flow.buffers)

    def node(self, node: Node, args: tuple, ins: list[int], outs: list[int], shapes: list[Shape], layer: str) -> None:
        """One operator; its results are maps unless it is refused, and all that follows is then only looked at."""
        flow = self.flow
        flow.used.update((value, flow.nodes) for value in ins if value in flow.made)
        of_image = any(value in flow.made for value in ins)
        if of_image or node.new or not node.is_view:
            flow.made.update((out, flow.nodes) for out in outs)
        flow.nodes += 1
        if flow.refusal or not (of_image or node.new or not node.is_view):
            return
        maps = [value in self.maps for value in ins]
        try:
            if not of_image:
                raise NotPatchable("which makes a tensor that is none of the image's")
            if any(value in flow.made and not is_map for value, is_map in zip(ins, maps, strict=True)):
                raise NotPatchable("which looks at what is no map")
            if not node.new and not node.is_view and not writes(node.op):
                raise NotPatchable("which writes into a tensor that it is given")
            out = flow.shapes[outs[0]]
            reads = reads_of(node.op, args, shapes, maps, out, node.in_place_able)
        except NotPatchable as error:
            flow.refusal = f"{f'layer {layer!r}' if layer else 'the network itself'} runs {node.op!r}, {error}"
            return
        kept = kept_results(node.op, outs)
        self.maps.update(kept)
        flow.buffers.update((out, self.buffer(out, ins)) for out in kept)
        flow.ops.append(MapOp(node.op, args, tuple(v for v in ins if v in self.maps), kept, reads, layer))
        macs = operator_macs(node.op, args, shapes, out)
        if macs:
            flow.costs[outs[0]] = macs // prod(out[2:])
