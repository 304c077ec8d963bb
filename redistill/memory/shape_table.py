"""Which rule an operator, or a call, has for its output shapes."""

from __future__ import annotations

import torch

from ..networks.pointwise import is_pointwise
from . import arranged_shapes as arranged
from . import layer_shapes as layers
from .shape_rules import Rule

VIEWS = ("view", "_unsafe_view", "_reshape_alias")  # return as many numbers as they take
RULES: dict[str, Rule] = {
    "convolution": layers.convolution,
    "max_pool2d_with_indices": layers.max_pool,
    "avg_pool2d": layers.avg_pool,
    "_adaptive_avg_pool2d": layers.adaptive,
    "adaptive_max_pool2d": layers.adaptive_max,
    "native_batch_norm": layers.channel_norm,  # as the recorder has it; torch's own returns statistics too
    "native_group_norm": layers.channel_norm,
    "native_layer_norm": layers.layer_norm,
    "layer_norm": layers.whole_layer_norm,
    "mean": layers.reduce,
    "sum": layers.reduce,
    "amax": layers.reduce,
    "mm": layers.mm,
    "bmm": layers.mm,
    "addmm": layers.addmm,
    "linear": layers.linear,
    "matmul": layers.matmul,
    "scaled_dot_product_attention": layers.attention,
    "t": arranged.transpose,
    "transpose": arranged.transpose,
    "permute": arranged.permute,
    "cat": arranged.cat,
    "stack": arranged.stack,
    "unsqueeze": arranged.unsqueeze,
    "select": arranged.select,
    "upsample_nearest2d": layers.upsample,
    "upsample_bilinear2d": layers.upsample,
    "upsample_bicubic2d": layers.upsample,
    "constant_pad_nd": layers.pad,
    "reflection_pad2d": layers.reflected,
    "replication_pad2d": layers.pad,
    "pixel_shuffle": layers.pixel_shuffle,
    "pixel_unshuffle": layers.pixel_unshuffle,
    **dict.fromkeys(VIEWS, arranged.view),
    "expand": arranged.expand,
    "repeat": arranged.repeat,
    "slice": arranged.sliced,
    "split": arranged.split,
    "split_with_sizes": arranged.split_with_sizes,
    "unbind": arranged.unbind,
    "squeeze": arranged.squeeze,
    "copy_": layers.same,
    "as_strided_": layers.same,
    **dict.fromkeys(
        ("clone", "_to_copy", "alias", "detach", "lift_fresh", "_softmax", "_log_softmax", "_safe_softmax", "roll"),
        layers.same,
    ),
    **dict.fromkeys(
        ("flip", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"), layers.same
    ),
    **dict.fromkeys(("zero_", "fill_", "native_dropout"), layers.same),
}
CALLED: dict[str, Rule] = {
    "flatten": arranged.flatten,
    "unflatten": arranged.unflatten,
    "chunk": arranged.chunk,
    "arange": arranged.arange,
}


def find_rule(func: torch._ops.OpOverload) -> Rule | None:
    """The rule of an aten operator, or None when there is none (its shapes then must not change)."""
    name = func.overloadpacket.__name__
    rule = RULES.get(name)
    if rule is None and is_pointwise(func):
        in_place = name.endswith("_") and not name.endswith("__")
        rule = layers.pointwise_ if in_place else layers.pointwise
    return rule


def rule_of(name: str) -> Rule:
    """The rule of an operator, or of a call that an operator does not go by."""
    return RULES.get(name) or CALLED[name]


def ignores_arguments(rule: Rule) -> bool:
    """Whether a rule looks at the shapes of its tensors alone."""
    return rule in (layers.pointwise, layers.pointwise_, layers.same)


def keeps_shape(rule: Rule, inputs: int, outputs: int) -> bool:
    """Whether an operator with this rule gives its only tensor's shape, whatever that is."""
    return ignores_arguments(rule) and inputs == outputs == 1
