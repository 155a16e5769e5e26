"""The drawn clusters find what is broken on purpose: for each twin the case that they shrank it to."""

from __future__ import annotations

from types import ModuleType

import pytest

from palm.core import dispatch
from palm.runtime import election, results
from tests.support.twin import twin
from tests.system.case import Case, Do, Fault
from tests.system.play import play

TWINS = {
    "whose answers count": (
        dispatch,
        "            if piece is None or piece.worker != worker:\n                continue\n            assert",
        "            assert",
        Case(route=[Do("herd.low")], instances=3, pause_s=0.3, faults=(Fault(0.1, "rain", "", 2.0),), seed=1),
    ),
    "the watch of the leader's key": (
        election,
        "                await self._until_gone(revision)\n",
        "                await self._host.sleep(10**12)\n",
        Case(route=[Do("herd.low")], instances=2, pause_s=0.05, faults=(Fault(0.1, "crash", "herd[0]", 2.0),)),
    ),
    "the word that nothing came of it": (
        results,
        "        if result is None:\n            return Status.EMPTY\n",
        "        if result is None:\n            return Status.CANCELLED\n",
        Case(route=[Do("work.odd")], messages=2),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_broken_twin_does_not_get_through(name: str) -> None:
    """The case holds, and without the line it does not."""
    module: ModuleType
    module, line, instead, case = TWINS[name]
    play(case)
    with twin(module, line, instead), pytest.raises(Exception):  # noqa: B017  # any way of breaking is one
        play(case)


def test_one_case_is_one_run() -> None:
    """What a replay shows is what was found."""
    case = Case(route=[Do("herd.calve"), Do("work.two")], messages=4, faults=(Fault(0.01, "crash", "herd[0]", 0.2),))
    assert eval(repr(case)) == case
    assert play(case) == play(case)
