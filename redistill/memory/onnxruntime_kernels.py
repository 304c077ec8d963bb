"""How onnxruntime's CPU kernels run an operator: which they know, in which layout, and in how much room.

Found by the optimized graphs and counted heaps of release 1.32 (AVX-512), as all in `onnxruntime`.
"""

from __future__ import annotations

from math import prod

from .program import Program
from .recording import WEIGHTS
from .shape_rules import Shape

BLOCK = 16  # channels that lie together
ALIGNED = 4  # of whose multiple there have to be channels, to lie in blocks
ACTIVATIONS = ("relu", "relu6", "hardtanh", "clamp", "sigmoid", "tanh", "leaky_relu", "hardsigmoid", "hardswish")
LATE = ("relu", "sigmoid", "tanh", "hardsigmoid", "hardswish")  # which the pass knows too that lays maps in blocks
SAMPLERS = ("max_pool2d", "avg_pool2d", "upsample_nearest2d")
BLOCKED = ("add", "mul", "cat", "silu")  # read blocked maps where all of them are
FLOAT = 4  # bytes
UNFOLDED = 2**14  # numbers that a thread has room for at a time
PARTS = ("split", "split_with_sizes", "slice", "select", "unbind")  # views of a part, copies there
GROUPS = 8  # place of how many groups there are among the arguments of a convolution
# What its figure has been checked with; of other operators nobody knows yet what runs in place, or in which layout.
KNOWN = {
    *ACTIVATIONS, *SAMPLERS, *BLOCKED, "conv2d", "batch_norm", "group_norm", "linear", "adaptive_avg_pool2d", "mean",
    "scaled_dot_product_attention", "pixel_shuffle", "tensor", "ones", "arange", "exp", "div", "float", "sin", "cos",
}  # fmt: skip


def plain_title(title: str) -> str:
    """An operator's name without the mark of one that works in place."""
    return title.rstrip("_")


def unknown_operators(program: Program, shapes: list[Shape]) -> list[str]:
    """What is not known of how it runs, in words."""
    unknown = {plain_title(step.title) for step in program.steps} - KNOWN
    for step in program.steps:
        if step.in_place_able and program.views.turns_in(step, shapes):  # which copies the map, beside the map
            unknown.add(f"{plain_title(step.title)} of a map and its transpose")
        if step.title == "adaptive_avg_pool2d":  # no pool in the exported file, but numbers that are gathered
            taken, made = shapes[step.operands[0][0]][-2:], shapes[step.result][-2:]
            if any(side % out for side, out in zip(taken, made, strict=True)):
                unknown.add(f"adaptive_avg_pool2d from {taken[0]}×{taken[1]} to {made[0]}×{made[1]}")
    for traced in program.calls:
        for node in traced.nodes:
            if node.op in PARTS and len(whole := shapes[traced.resolve(node.ins[0])]) == 4:
                parts = [shapes[out + traced.first_value] for out in node.outs]
                unknown |= {node.op} if any(prod(part) < prod(whole) for part in parts) else set()
            elif node.measures:
                unknown.add(f"batch_norm without running statistics in layer {node.layer!r}")
            elif node.op == "convolution" and program.home[traced.resolve(node.ins[1])] != WEIGHTS:
                unknown.add("conv2d of weights that it computes")
    return sorted(unknown)


def has_no_blocks(weights: Shape, groups: int) -> bool:
    """Whether a convolution cannot use blocks of channels: for numbers of them, or for groups that are neither whole
    blocks nor single channels."""
    given, taken, *_ = weights
    if groups == 1:
        return taken >= BLOCK and bool(taken % ALIGNED)
    is_narrow = bool(taken % BLOCK or given // groups % BLOCK)
    return bool(given % ALIGNED) or (is_narrow and not (taken == 1 and given == groups))


def workspace(weights: Shape, made: Shape, arguments: tuple) -> int:
    """Numbers that a convolution which uses no blocks unfolds its map into on one thread: none where its kernel is one
    pixel, all that it reads where filters outnumber the pixels that it gives, else a part at a time."""
    filters, taken, *kernel = weights
    strides, padding, _, _, _, groups = arguments[3:9]
    pixels = prod(made[2:])
    if prod(kernel) == 1 and max(strides) == 1 and not any(padding):
        return 0
    return pixels * taken * prod(kernel) if filters // groups > pixels else UNFOLDED
