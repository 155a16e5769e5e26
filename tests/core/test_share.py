"""Shares and paths: exact at any depth, and never a mixture of two executions."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palm.core.share import Gathering, Part, Step, divide, fork_of, item_at, path_of, share_of

# A tree of fan-outs: a leaf, or two to four trees below it.
trees: st.SearchStrategy[Any] = st.recursive(
    st.none(), lambda below: st.lists(below, min_size=2, max_size=4), max_leaves=24
)


def leaves(tree: Any, item: int, fork: int, depth: int = 0) -> list[int]:
    """The parts that come of splitting `item` as the tree says, in the order of paths."""
    if tree is None:
        return [item]
    parts = divide(item, depth, fork, len(tree))
    return [leaf for part, below in zip(parts, tree, strict=True) for leaf in leaves(below, part, fork, depth + 1)]


@given(trees)
def test_the_shares_of_all_parts_are_one_whole(tree: Any) -> None:
    """Dividing and adding up gives exactly one, however deep and however uneven."""
    assert sum(map(share_of, leaves(tree, 7, fork=1)), Fraction(0)) == 1


@given(trees, st.randoms(use_true_random=False), st.data())
def test_parts_are_complete_with_the_last_one_and_in_order(tree: Any, random: Random, data: st.DataObject) -> None:
    """In any order of arrival, and with repeats: complete exactly when the shares add up to one; values by path."""
    parts = leaves(tree, 7, fork=1)
    arrivals = random.sample(parts, len(parts))
    gathering: Gathering[int] = Gathering()
    seen: set[int] = set()
    for part in arrivals:
        assert not gathering.is_complete
        assert gathering.add(path_of(part), parts.index(part))
        seen.add(part)
        assert gathering.share() == sum(map(share_of, seen), Fraction(0))
        again = data.draw(st.sampled_from(sorted(seen, key=parts.index)))
        assert not gathering.add(path_of(again), -1)
    assert gathering.is_complete and list(gathering.values()) == list(range(len(parts)))


@given(trees, trees, st.randoms(use_true_random=False))
def test_two_attempts_are_never_mixed(first: Any, second: Any, random: Random) -> None:
    """What a retry split differently counts by itself: what is handed over is all of one attempt."""
    attempts = [leaves(tree, 7, fork=number) for number, tree in enumerate((first, second))]
    arrivals = [(number, part) for number, parts in enumerate(attempts) for part in parts]
    random.shuffle(arrivals)
    gathering: Gathering[tuple[int, int]] = Gathering()
    for number, part in arrivals:
        gathering.add(path_of(part), (number, part))
        if gathering.is_complete:
            break
    values = list(gathering.values())
    number = values[0][0]
    assert values == [(number, part) for part in attempts[number]]


def test_one_attempt_of_a_part_takes_the_place_of_another_within_one_split() -> None:
    """Part 0 of a split was split again, twice: one of the two, and part 1, are the message."""
    above = Step(0, 1, 0, 2)
    lost, retried = Step(1, 2, 0, 2), [Step(1, 3, place, 3) for place in range(3)]
    gathering: Gathering[str] = Gathering()
    gathering.add((Step(0, 1, 1, 2),), "last")
    gathering.add((above, lost), "lost")
    for step in retried:
        assert not gathering.is_complete
        gathering.add((above, step), f"retried {step.place}")
    assert list(gathering.values()) == ["retried 0", "retried 1", "retried 2", "last"]


def test_a_part_is_a_number_of_its_message_and_equal_to_itself_only() -> None:
    """Columns of identities stay columns of numbers."""
    first, second = divide(5, 0, 9, 2)
    assert int(first) == int(second) == 5
    assert first != second and first != 5 and hash(first) != hash(second)
    assert first == Part(5, path_of(first)) and first < 6 and max(first, 4) == first
    assert item_at(5, ()) == 5 and not isinstance(item_at(5, ()), Part)


def test_one_part_is_all_of_it() -> None:
    """A function that yields once has split nothing."""
    assert divide(5, 0, 9, 1) == [5]


def test_executions_are_told_apart() -> None:
    """By the life of the process, and by its count."""
    forks = {fork_of(peer, ticket) for peer in ("peer-a", "peer-b") for ticket in range(1000)}
    assert len(forks) == 2000 and all(0 <= fork < 1 << 64 for fork in forks)
