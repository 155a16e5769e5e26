"""Who of the suspects of later stages may go, and how many at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.core.trials import FEW, Trials


def let_go(trials: Trials[int], living: set[int]) -> list[int]:
    gone: list[int] = []
    while (one := trials.next(living)) is not None:
        gone.append(one)
    return gone


def test_those_with_one_death_go_few_at_a_time() -> None:
    """The next one goes when one of them has ended."""
    trials, living = Trials[int](), set(range(20))
    for sequence in living:
        trials.add(sequence, sequence, 1)
    assert let_go(trials, living) == list(range(FEW))
    living -= {3, 5}
    assert let_go(trials, living) == [FEW, FEW + 1]


def test_who_died_twice_goes_alone() -> None:
    """Before all others, once nothing is under way; and nothing goes beside it."""
    trials, living = Trials[int](), {1, 2, 3}
    trials.add(1, 1, 1)
    assert let_go(trials, living) == [1]
    trials.add(2, 2, 2)
    trials.add(3, 3, 1)
    assert let_go(trials, living) == []
    living.remove(1)
    assert let_go(trials, living) == [2]
    living.remove(2)
    assert let_go(trials, living) == [3]


def test_what_ended_while_it_waited_is_forgotten() -> None:
    """A late answer, a cancelled job, a deadline."""
    trials = Trials[int]()
    trials.add(1, 1, 1)
    assert 1 in trials and let_go(trials, set()) == [] and not trials


@given(st.sets(st.integers(0, 30), min_size=1, max_size=2), st.data())
def test_only_killers_are_there_three_times(killers: set[int], data: st.DataObject) -> None:
    """All of a window were with an instance that died. Whoever goes first after that, what is under way with a killer
    dies with it: each killer is found, and nobody else has more than two deaths by the same one, and one by each."""
    trials, living, deaths = Trials[int](), set(range(31)), dict.fromkeys(range(31), 1)
    for sequence in data.draw(st.permutations(sorted(living))):
        trials.add(sequence, sequence, 1)
    under_way: list[int] = []
    while living:
        under_way = [one for one in under_way if one in living] + let_go(trials, living)
        assert under_way
        if not killers & set(under_way):
            living -= set(under_way)
            continue
        for one in under_way:
            deaths[one] += 1
            if deaths[one] >= 3:
                living.remove(one)
                assert one in killers
            else:
                trials.add(one, one, deaths[one])
        under_way = []
    assert all(deaths[killer] == 3 for killer in killers)
