"""Which page's event stops: its own alone, and only one that goes on."""

from __future__ import annotations

from types import SimpleNamespace

from app.parts.stops import Stops

ONE, TWO = (SimpleNamespace(session_hash=name) for name in ("one", "two"))


def test_a_page_stops_its_own_event_and_no_other():
    stops = Stops()
    with stops.going(ONE) as is_one_stopped, stops.going(TWO) as is_two_stopped:
        stops.ask(TWO)
        assert is_two_stopped() and not is_one_stopped()


def test_what_was_asked_before_or_without_an_event_stops_nothing():
    stops = Stops()
    stops.ask(ONE)
    with stops.going(ONE) as is_stopped:
        assert not is_stopped()
        stops.ask(ONE)
    with stops.going(ONE) as is_stopped:
        assert not is_stopped()


def test_one_of_two_events_of_a_page_that_ends_leaves_the_other_stopped():
    stops = Stops()
    with stops.going(ONE) as is_stopped:
        with stops.going(ONE):
            stops.ask(ONE)
        assert is_stopped()
    assert stops._asked == set(), "pages that are gone are forgotten"
