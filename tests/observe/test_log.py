"""The last log records of an instance: bounded, filtered, and of that instance alone."""

from __future__ import annotations

import logging

from palm.observe.log import LONGEST, RING, Line, LogRing


def test_a_ring_keeps_the_last_records_and_cuts_long_ones() -> None:
    """However many there were."""
    ring = LogRing(3)
    for number in range(10):
        ring.add(Line(number, logging.INFO, "x", str(number)))
    ring.add(Line(10, logging.INFO, "x", "long" * LONGEST))
    assert [line.at_ms for line in ring.query()] == [8, 9, 10]
    assert len(ring.query()[-1].text) == LONGEST


def test_records_go_to_the_ring_at_hand() -> None:
    """And nowhere, where there is none."""
    one, two = LogRing(), LogRing()
    log = logging.getLogger("test.ring")
    log.warning("nobody's")
    RING.set(one)
    log.warning("first %d", 1)
    RING.set(two)
    log.warning("second", extra={"palm_trace": "abc"})
    RING.set(None)
    assert [line.text for line in one.query()] == ["first 1"]
    assert [(line.text, line.trace, line.level) for line in two.query()] == [("second", "abc", logging.WARNING)]


def test_a_format_that_does_not_fit_is_kept_as_it_is() -> None:
    """A ring that raises would make the user's mistake worse."""
    ring = LogRing()
    RING.set(ring)
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d words", ("many",), None)
    for handler in logging.getLogger().handlers:
        if type(handler).__module__ == "palm.observe.log":
            handler.handle(record)
    RING.set(None)
    assert [line.text for line in ring.query()] == ["%d words"]


def test_filters_add_up() -> None:
    """Level, text, trace, and of those the last."""
    ring = LogRing()
    for number, (level, text, trace) in enumerate([(20, "a b", ""), (30, "a c", "t"), (40, "a", "t"), (30, "c", "t")]):
        ring.add(Line(number, level, "x", text, trace=trace))
    assert [line.at_ms for line in ring.query(level=30, text="a")] == [1, 2]
    assert [line.at_ms for line in ring.query(trace="t", last=2)] == [2, 3]
    assert ring.query(last=0) == []
