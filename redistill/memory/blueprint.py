"""A recording made ready to be compiled again and again: its steps made once, and where each thing in it stands."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock
from typing import Any, NamedTuple

from .macs import products, total_macs
from .recording import FREE, OP, Event, Recording
from .shape_rules import Shape
from .steps import Step, make_step

MADE_KEPT = 20_000  # steps and RED blocks that a network remembers


class Call(NamedTuple):
    """The operators of one call from Python, and the values they read."""

    nodes: list[int]
    values: set[int]


def group_calls(recording: Recording) -> list[Call | Event]:
    """The events of a recording, operators of one call joined."""
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
            calls[node.call] = Call([event[1]], set(node.ins))
            items.append(calls[node.call])
    return items


class Blueprint:
    """A recording with its steps made once, so that a compiler only makes those anew that change.

    `items` are calls and events in their order. `made` keeps what was made anew as well, by all that it depends on:
    other strides ask for much of it again. Threads may use one blueprint at once.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.products = products(recording)
        self.buffer_values = [buffer.value for buffer in recording.buffers]
        self.itemsizes = [buffer.itemsize for buffer in recording.buffers]
        self.floats = [buffer.is_float for buffer in recording.buffers]
        self.inner = [buffer.inner for buffer in recording.buffers]
        self.items = group_calls(recording)
        self.made: dict[tuple, Any] = {}
        self._places: dict[tuple, tuple[int, int]] = {}
        self._taken = (len(recording.buffer_of), len(recording.buffers))
        self._lock = Lock()

        self.steps: list[Step] = []
        self.deaths: list[tuple[int, ...]] = []  # per step
        self.step_at: list[int] = []  # per item, and once more for the end: how many steps come before it
        self.free_at: list[int] = []  # and how many buffers are let go of before it
        self.frees: list[int] = []  # these buffers
        self.readers: dict[int, list[int]] = defaultdict(list)  # value → items that read it
        self.item_of_step: list[int] = []
        self.item_of: dict[int, int] = {}  # node → its item
        self.free_item: dict[int, int] = {}  # buffer → the item that lets go of it
        self.scopes: dict[str, list[int]] = defaultdict(list)  # layer path → items that enter or leave it
        self._make_steps()

    def _make_steps(self) -> None:
        home, deaths = list(self.recording.buffer_of), []
        for i, item in enumerate(self.items):
            self.step_at.append(len(self.steps))
            self.free_at.append(len(self.frees))
            if isinstance(item, Call):
                for value in item.values:
                    self.readers[value].append(i)
                self.item_of |= dict.fromkeys(item.nodes, i)
                step, _ = make_step([self.recording.nodes[node] for node in item.nodes], home, self.inner, {})
                if step is not None:
                    self.steps.append(step)
                    self.item_of_step.append(i)
                    deaths.append([])
            elif item[0] == FREE:
                self.frees.append(item[1])
                self.free_item[item[1]] = i
                if deaths:
                    deaths[-1].append(item[1])
            else:
                self.scopes[item[1]].append(i)
        self.step_at.append(len(self.steps))
        self.free_at.append(len(self.frees))
        self.deaths = [tuple(freed) for freed in deaths]

    def place(self, key: tuple, values: int, buffers: int) -> tuple[int, int]:
        """The first of so many numbers of values and buffers that belong to `key`, and to it alone, from now on."""
        key = (*key, values, buffers)
        with self._lock:
            if key not in self._places:
                self._places[key] = self._taken
                self._taken = self._taken[0] + values, self._taken[1] + buffers
            return self._places[key]

    @property
    def taken(self) -> tuple[int, int]:
        """How many numbers of values and buffers are given away."""
        return self._taken

    def remember(self, key: tuple, value: Any) -> Any:
        """Keep `value` under `key`; all is forgotten at once when it has become much."""
        if len(self.made) >= MADE_KEPT:
            self.made.clear()
        self.made[key] = value
        return value

    def macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates of the network as recorded, at these shapes."""
        return total_macs(self.products, shapes)
