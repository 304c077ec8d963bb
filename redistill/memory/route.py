"""The way that maps took through a recorded pass."""

from __future__ import annotations

from ..networks.paths import Follower
from ..networks.trails import Route
from .recording import ENTER, LEAVE, OP, Recording


def recorded_route(recording: Recording) -> Route:
    """What a follower finds of the pass that was recorded, on the inputs it was recorded with."""
    follower = Follower(recording.modules, recording.shapes)
    for value in recording.inputs:
        follower.start(value)
    for kind, what, *value in recording.events:
        if kind == OP:
            node = recording.nodes[what]
            follower.op(node.op, node.args, node.ins, node.outs)
        elif kind == ENTER:
            follower.enter(what, value[0])
        elif kind == LEAVE:
            follower.leave(what, value[0])
    return follower.finish(recording.outputs)
