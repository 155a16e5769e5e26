"""Delta debugging: from many things that fail together to a few of them of which none can be left out.

Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002), with subsets before complements.
This file knows neither scenarios nor runs.
"""

from __future__ import annotations

from typing import Callable, Sequence, TypeVar

T = TypeVar("T")
First = Callable[[Sequence[Sequence[T]]], int | None]
"""Of several selections, the place of the first that still fails; None where none does."""


def fewest(items: Sequence[T], first: First[T]) -> Sequence[T]:
    """A selection of `items`, which fail, that fails itself and of which no single one can be left out.

    What comes back is `items` or was said to fail by `first`. The order stays. About 2 log2 of their number steps for
    each that matters, if they matter alone.
    """
    if not items or first([[]]) is not None:
        return []
    parts = 2
    while len(items) > 1:
        chunks = _split(items, parts)
        rests = [_without(chunks, number) for number in range(len(chunks))] if parts > 2 else []
        found = first([*chunks, *rests])
        if found is None:
            if parts >= len(items):
                break
            parts = min(len(items), 2 * parts)
        elif found < len(chunks):
            items, parts = chunks[found], 2
        else:
            items, parts = rests[found - len(chunks)], max(parts - 1, 2)
    return items


def _split(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    ends = [len(items) * number // parts for number in range(parts + 1)]
    return [items[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def _without(chunks: Sequence[Sequence[T]], number: int) -> list[T]:
    return [item for at, chunk in enumerate(chunks) if at != number for item in chunk]
