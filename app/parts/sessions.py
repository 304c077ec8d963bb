"""What gradio keeps of each page: one component for each that the page has, however often it is updated."""

from __future__ import annotations

import functools
from typing import Any

from gradio.blocks import Block
from gradio.components import State
from gradio.state_holder import SessionState

CAPACITY = 200  # pages whose components and states are kept; of more, those that were not used for the longest time go


def keep_one_component() -> None:
    """Let a session know an updated component by the number of the one that it takes the place of.

    gradio 6.31 builds a new component, with a number of its own, for every update of one. When that comes back as an
    input it is filed under both numbers, and the second entry stays for good: about 10 KiB a change of a stride.
    """
    if hasattr(SessionState.__setitem__, "__wrapped__"):
        return
    put = SessionState.__setitem__

    @functools.wraps(put)
    def put_in_place(self: SessionState, key: int, value: Any) -> None:
        if isinstance(value, Block) and not isinstance(self.blocks_config.blocks.get(key), State):
            value._id = key
        put(self, key, value)

    SessionState.__setitem__ = put_in_place
