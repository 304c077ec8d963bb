"""Events of one kind take turns; a page stops its own alone, and only those that go on or wait."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

from app.parts import turns
from app.parts.turns import Turns

ONE, TWO = (SimpleNamespace(session_hash=name) for name in ("one", "two"))


def test_the_second_waits_until_the_first_has_ended(monkeypatch):
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.0)
    line = Turns()
    with contextlib.ExitStack() as before:
        first = before.enter_context(line.take(ONE))
        with line.take(TWO) as second:
            assert first.has_come and list(first.wait()) == []
            waiting = second.wait()
            assert [next(waiting), next(waiting)] == [None, None] and not second.has_come
            before.close()
            assert list(waiting) == [] and second.has_come


def test_a_page_stops_its_own_events_and_no_other():
    line = Turns()
    with line.take(ONE) as first, line.take(TWO) as second, line.take(ONE) as third:
        line.stop(ONE)
        assert [turn.is_stopped for turn in (first, second, third)] == [True, False, True]
        assert list(third.wait()) == [] and not third.has_come


def test_what_was_asked_before_stops_nothing():
    line = Turns()
    line.stop(ONE)
    with line.take(ONE) as turn:
        assert not turn.is_stopped
        line.stop(ONE)
    with line.take(ONE) as turn:
        assert not turn.is_stopped
    assert line._line == []
