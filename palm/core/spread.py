"""From the answers of one stage to batches for the next: where each goes, and as what.

The common case, one result for each message and one stage behind another, does not come here: what comes is a message
with many results, or one whose route has branches.
"""

from __future__ import annotations

from typing import Sequence

from palm.core.message import Header, Payload, Split, Status
from palm.core.route import branches_after, stage_after
from palm.core.share import divide

Columns = tuple[list[int], list[Payload], list[int]]
"""Identities, payloads, statuses."""


def targets_of(header: Header) -> list[int]:
    """The stages that a result of this one goes to, where the function does not choose: one, or the first of each
    branch."""
    branches = branches_after(header.route, header.stage)
    return [branch.first for branch in branches] or [stage_after(header.route, header.stage)]


def spread(
    header: Header, items: Sequence[int], payloads: Sequence[Payload], statuses: Sequence[int]
) -> dict[Header, Columns]:
    """What is to go on under which header, in order. What has no result goes past the branches, to where they meet."""
    onward: dict[Header, Columns] = {}
    ahead = header.at(stage_after(header.route, header.stage))
    for item, payload, status in zip(items, payloads, statuses, strict=True):
        if not isinstance(payload, Split):
            _put(onward, ahead.of(item), item, payload, status)
            continue
        parts = divide(item, header.stage, payload.fork, len(payload.results))
        for part, (stage, result) in zip(parts, payload.results, strict=True):
            _put(onward, header.at(stage).of(part), part, result, Status.OK)
    return onward


def _put(onward: dict[Header, Columns], header: Header, item: int, payload: Payload, status: int) -> None:
    columns = onward.get(header)
    if columns is None:
        columns = onward[header] = ([], [], [])
    columns[0].append(item)
    columns[1].append(payload)
    columns[2].append(status)
