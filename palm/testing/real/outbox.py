"""The event ledger of one process of a real run: entries are gathered for milliseconds, then sent to the director."""

from __future__ import annotations

from typing import Any, Mapping

from palm.core.message import JobId, Peer
from palm.sim.history import Entry, EntryKind
from palm.sim.kernel import Clock
from palm.sim.linearizable import Operation
from palm.sim.network import Rule
from palm.sim.recorder import Recorder
from palm.testing.real.channel import Channel

FLUSH_S = 0.01
"""What a process that is killed may take with it of its ledger. Clients, who count, are not killed."""


class Outbox(Recorder):
    """A Recorder whose entries leave with `flush`. Other threads may write; `flush` belongs to the event loop."""

    def __init__(self, clock: Clock, channel: Channel) -> None:
        super().__init__(clock)
        self._channel = channel
        self._bitten: dict[str, int] = {}
        self._failures = 0

    def name_of(self, job: JobId) -> str:
        """A job of another process goes by its id until the director puts the scenario's name there."""
        return self.jobs.get(job) or written(job)

    def flush(self, rules: Mapping[str, Rule], touched: Mapping[str, int], failures: int) -> None:
        """Send what is new: entries, how often each rule has bitten and what each other step touched here, and how many
        registry calls have failed."""
        words: dict[str, object] = {}
        if count := len(self.entries):
            # Others append meanwhile: what is taken is what was counted.
            words["entries"] = [_row(entry) for entry in self.entries[:count]]
            del self.entries[:count]
        bitten = {name: rule.bitten for name, rule in rules.items()} | dict(touched)
        if bitten != self._bitten:
            words["bitten"] = self._bitten = bitten
        if failures != self._failures:
            words["failures"] = self._failures = failures
        if words:
            self._channel.say(**words)


def written(job: JobId) -> str:
    """A job's id as one word."""
    return f"{job.client}/{job.incarnation}/{job.number}"


def read(text: str) -> JobId:
    """The id that `written` made a word of."""
    client, incarnation, number = text.split("/")
    return JobId(Peer(client), int(incarnation), int(number))


def entry_of(row: list[object]) -> Entry:
    """What `flush` has sent as a list."""
    at, kind, *rest = row
    return Entry(at, EntryKind(kind), *rest)  # type: ignore[arg-type]  # written by `_row`


def row_of(operation: Operation) -> list[object]:
    """What a client of a store did and saw, for the way."""
    row: list[object] = list(operation)
    return [{"hex": one.hex()} if isinstance(one, bytes) else one for one in row]


def operation_of(row: list[Any]) -> Operation:
    """What `row_of` has made a list of."""
    values: list[Any] = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in row]
    return Operation(*values)


def _row(entry: Entry) -> list[object]:
    return [entry.at, entry.kind.value, *entry[2:]]
