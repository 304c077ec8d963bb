"""A program as onnxruntime sees it: every write makes a buffer of its own, and a kernel does one or several steps.

Which steps a kernel does, and in which order they run, is for `onnxruntime` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from .onnxruntime_kernels import FLOAT, GROUPS, has_no_blocks, workspace
from .program import Program
from .recording import Buffer, Node
from .shape_rules import Shape
from .steps import Step


@dataclass
class Kernel:
    """What runs as one: steps of the program, in it by their places."""

    steps: list[int]
    kind: str  # title of what it began as
    reads: list[int]  # buffers
    births: list[int]
    index: int = 0  # when it was made
    is_plain: bool = False  # a convolution that neither reads nor writes blocks of channels
    is_deep: bool = False  # any other one in groups, which reads blocks of however few channels
    workspace: int = 0  # bytes of room that a plain one works in
    activation: bool = False
    into: int = -1  # the buffer that it accumulates into, where that dies there


@dataclass
class Graph:
    """Steps in which every write makes a buffer of its own."""

    steps: list[Step]
    buffers: list[Buffer]
    sizes: list[int]
    outputs: list[int]
    shape: list[Shape]  # of each buffer
    # What convolutions make which use no blocks of channels, and the bytes of room that they work in.
    plain: dict[int, int] = field(default_factory=dict)
    deep: set[int] = field(default_factory=set)  # that any others in groups make
    joined: dict[int, int] = field(default_factory=dict)  # buffer that never is → the one that it became

    def new_buffer(self, like: int, shape: Shape | None = None) -> int:
        """One more buffer, as large as another."""
        self.buffers.append(self.buffers[like])
        self.sizes.append(self.sizes[like])
        self.shape.append(self.shape[like] if shape is None else shape)
        return len(self.buffers) - 1


def single_assignment(program: Program, shapes: list[Shape], sizes: list[int]) -> Graph:
    """The graph of a program, whose values have these shapes and whose buffers have these bytes."""
    buffers = list(program.buffers)
    graph = Graph([], buffers, list(sizes), [], [shapes[made.value] for made in buffers])
    now, steps = list(range(len(buffers))), graph.steps
    for step, nodes in _in_order(program):
        operands = tuple((value, now[buffer]) for value, buffer in step.operands)
        reads = tuple(now[buffer] for buffer in step.reads)
        births = step.births
        if step.title == "cat" and len(reads) == 1 and graph.shape[births[0]] == graph.shape[reads[0]]:
            now[births[0]] = graph.joined[births[0]] = reads[0]  # of one map, as a DenseNet begins: never exported
            continue
        for buffer in () if births else step.writes:
            now[buffer] = graph.new_buffer(buffer)
            births = (*births, now[buffer])
        if step.title == "group_norm":  # as ONNX of opset 20 has it: normalized by groups, scaled, shifted
            batch, channels, *sides = graph.shape[births[0]]
            grouped = graph.new_buffer(births[0], (batch, 0, channels * prod(sides)))
            scaled = graph.new_buffer(births[0])
            value = graph.buffers[births[0]].value
            for title, taken, made in (("instance_norm", reads, (grouped,)), ("scale", (grouped,), (scaled,))):
                touched = (*taken, *made)
                steps.append(
                    step._replace(
                        title=title, reads=taken, operands=(), result=value, writes=(), births=made, touched=touched
                    )
                )
            reads, operands = (scaled,), ()
        for node, ins in nodes:
            if node.op == "convolution":
                weights, groups = shapes[ins[1]], node.args[GROUPS]
                if has_no_blocks(weights, groups):
                    floats = workspace(weights, graph.shape[births[0]], node.args)
                    graph.plain |= dict.fromkeys(births, FLOAT * floats)
                elif groups > 1:
                    graph.deep.update(births)
        touched = tuple(dict.fromkeys((*reads, *births)))
        steps.append(step._replace(operands=operands, reads=reads, writes=(), births=births, touched=touched))
    graph.outputs = [now[buffer] for buffer in program.outputs]
    return graph


def _in_order(program: Program) -> Iterator[tuple[Step, list[tuple[Node, list[int]]]]]:
    """The steps, and the operators of each with the values that they read."""
    steps = iter(program.steps)
    for traced in program.calls:
        calls: dict[int, list[tuple[Node, list[int]]]] = {}
        for node in traced.nodes:
            calls.setdefault(node.call, []).append((node, [traced.resolve(value) for value in node.ins]))
        for nodes in calls.values():
            if not all(node.is_view for node, _ in nodes):
                yield next(steps), nodes
