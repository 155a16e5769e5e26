"""The registry port on the simulated etcd: requests over the simulated network, with the real adapter's rules.

Each request has a deadline, shared out over several tries; reads and puts are repeated, a transaction that may have
been sent is `Indefinite`. A watch resumes from what it handed on. Silence is a fault: a session that says nothing for
`probe_s` is asked, and thrown away when it then stays silent. This file knows nothing of etcd's own rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from palm.errors import (
    Compacted,
    Indefinite,
    LeaseLost,
    RegistryError,
    RegistryRefused,
    RegistryTimeout,
    RegistryUnavailable,
)
from palm.ports.host import Timer
from palm.ports.registry import (
    NO_LEASE,
    Change,
    Committed,
    Compare,
    Lease,
    LeaseId,
    Listing,
    Operation,
    Put,
    Record,
    Revision,
)
from palm.sim import registry_values as values
from palm.sim.draws import Key
from palm.sim.etcd import values as v
from palm.sim.kernel import NANOSECONDS, Future
from palm.sim.registry_server import Answer, Ask, RegistryServer, Session

WAY_OUT = "see the script's steps on the registry, and its links"
_PAUSE_NS, _PAUSE_NS_MAX = 100_000_000, 1_000_000_000
_LISTINGS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """As the real adapter's. `tries` is how many equal parts the time of a call is divided into, at least 0.5 s
    each."""

    timeout_s: float = 5.0
    tries: int = 3
    probe_s: float = 2.0
    page: int = 1000


class Process(Protocol):
    """What the registry needs of the simulated process that it lives in."""

    name: str
    place: str
    label: str
    alive: bool

    def now(self) -> int: ...
    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...
    def perform(self, callback: Callable[[], None]) -> None: ...
    async def sleep(self, duration: int) -> None: ...


class SimRegistry:
    """palm.ports.registry.Registry for one process. Connects when it is first used."""

    __slots__ = (
        "_asked",
        "_closed",
        "_connected",
        "_heard_at",
        "_leases",
        "_pauses",
        "_pending",
        "_probe",
        "_probe_ns",
        "_process",
        "_reopen",
        "_said",
        "_server",
        "_session",
        "_sessions",
        "_settings",
        "_watches",
    )

    def __init__(
        self, server: RegistryServer, process: Process, settings: RegistrySettings = RegistrySettings()
    ) -> None:
        self._server = server
        self._process = process
        self._settings = settings
        self._session: Session | None = None
        self._sessions = 0
        self._pauses = 0
        self._asked = 0
        self._said = 0
        self._connected = False
        self._heard_at = 0
        self._pending: dict[int, Future[Answer | None]] = {}
        self._leases: dict[LeaseId, int] = {}
        self._watches: dict[SimWatch, None] = {}
        self._probe: Timer | None = None
        self._probe_ns = round(settings.probe_s * NANOSECONDS)
        self._reopen: Timer | None = None
        self._closed = False

    # -- the port ------------------------------------------------------------------------------------------------

    async def grant(self, ttl_s: int) -> Lease:
        answer: v.LeaseAnswer = await self._call("grant", "lease_grant", values.whole(ttl_s, "ttl_s"))
        lease = Lease(id=LeaseId(answer.id), ttl_s=answer.ttl_s)
        self._leases[lease.id] = lease.ttl_s
        return lease

    async def keep_alive(self, lease: LeaseId) -> int:
        values.whole(lease, "lease")
        ttl_s = self._leases.get(lease)
        timeout_s = self._settings.timeout_s if ttl_s is None else ttl_s / 4
        answer: v.LeaseAnswer = await self._call("keep_alive", "lease_keep_alive", lease, timeout_s=timeout_s)
        if answer.ttl_s <= 0:
            self._leases.pop(lease, None)
            raise LeaseLost("keep_alive: the lease has expired or was revoked; grant a new one")
        self._leases[lease] = answer.ttl_s
        return answer.ttl_s

    async def revoke(self, lease: LeaseId) -> None:
        await self._call("revoke", "lease_revoke", values.whole(lease, "lease"), gone_is_done=True)
        self._leases.pop(lease, None)

    async def get(self, prefix: str) -> Listing:
        first, end = values.range_of(prefix)
        for listing in range(1, _LISTINGS_MAX + 1):
            try:
                return await self._listing(first, end)
            except Compacted:
                if listing == _LISTINGS_MAX:
                    raise
        raise AssertionError("the last listing returns or raises")

    async def put(self, key: str, value: bytes, lease: LeaseId = NO_LEASE) -> Revision:
        request = values.put_request(Put(key=key, value=value, lease=lease))
        answer: v.PutAnswer = await self._call("put", "put", request)
        return Revision(answer.revision)

    async def delete(self, key: str) -> int:
        request = v.DeleteRequest(key=values.key_bytes(key))
        answer: v.DeleteAnswer = await self._call("delete", "delete_range", request)
        return answer.deleted

    async def transact(
        self, compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Committed:
        request = values.txn_request(compare, then, otherwise)
        return values.committed(await self._call("transact", "txn", request, once=True))

    def watch(self, prefix: str, after: Revision) -> SimWatch:
        return SimWatch(self, prefix, values.whole(after, "after"))

    async def aclose(self) -> None:
        self._close()

    # -- requests ------------------------------------------------------------------------------------------------

    async def _listing(self, first: bytes, end: bytes) -> Listing:
        records: list[Record] = []
        revision = 0
        while True:
            request = v.RangeRequest(key=first, range_end=end, limit=self._settings.page, revision=revision)
            answer: v.RangeAnswer = await self._call("get", "range", request)
            records += [values.record(kv) for kv in answer.kvs]
            revision = revision or answer.revision
            if not answer.more:
                return Listing(records=tuple(records), revision=Revision(revision))
            first = answer.kvs[-1].key + b"\0"

    async def _call(
        self,
        operation: str,
        method: str,
        *arguments: Any,
        timeout_s: float | None = None,
        once: bool = False,
        gone_is_done: bool = False,
    ) -> Any:
        """Ask until it is answered or the time is up. `once`: never again when it may have been applied;
        `gone_is_done`: a lease that is unknown after an unsure try was ended by that try."""
        began, total = self._process.now(), round((timeout_s or self._settings.timeout_s) * NANOSECONDS)
        deadline = began + total
        per_try = max(NANOSECONDS // 2, total // self._settings.tries)
        failures, unsure, was_there, why = 0, False, False, "no answer"
        while (left := deadline - self._process.now()) > 0 and not self._closed:
            sent_at = self._process.now()
            if once and not self._connected:
                answer = await self._ask(Ask(self._next(), "hello"), min(per_try, left))
                unsure_now = False
                left = deadline - self._process.now()
            if not once or self._connected:
                answer = await self._ask(Ask(self._next(), method, arguments), min(per_try, left))
                unsure_now = answer is None
            if answer is not None and not answer.absent:
                if answer.refusal is None:
                    return answer.value
                if gone_is_done and unsure and answer.refusal.refusal is v.Refusal.LEASE_NOT_FOUND:
                    return None
                raise values.refused(operation, answer.refusal) from answer.refusal
            spent_s = (self._process.now() - began) / NANOSECONDS
            if unsure_now and once:
                raise Indefinite(
                    f"{operation} was sent to the registry and may have been applied: no answer after {spent_s:.1f} s; "
                    "read back a value of your own before repeating it"
                )
            failures += 1
            unsure = unsure or unsure_now
            was_there = was_there or (unsure_now and self._connected)
            why = answer.absent if answer is not None else "no answer"
            timed_out = answer is None and self._process.now() > sent_at
            if timed_out and self._heard_at <= sent_at:
                self._throw_away()  # nothing at all came back since: the connection may be dead
            else:
                # Also where another call threw the session away under this one: else two would do it to each other
                # for ever.
                await self._process.sleep(min(self._pause(failures), max(0, deadline - self._process.now())))
        raise self._exhausted(operation, began, was_there, unsure, why)

    def _exhausted(self, operation: str, began: int, was_there: bool, unsure: bool, why: str) -> RegistryError:
        spent_s = (self._process.now() - began) / NANOSECONDS
        if self._closed:
            return RegistryUnavailable(f"{operation}: the registry was closed after {spent_s:.1f} s")
        if was_there:
            return RegistryTimeout(f"the registry did not answer {operation} within {spent_s:.1f} s; {WAY_OUT}")
        perhaps = ", and it may have been applied" if unsure else ""
        return RegistryUnavailable(
            f"no registry answered {operation} within {spent_s:.1f} s{perhaps}: {why}; {WAY_OUT}"
        )

    async def _ask(self, ask: Ask, timeout_ns: int) -> Answer | None:
        """One try; None when there was no answer in time."""
        answered: Future[Answer | None] = Future()
        self._pending[ask.number] = answered
        timer = self._process.call_at(self._process.now() + timeout_ns, partial(answered.set, None))
        try:
            self._link().ask(ask)
            return await answered
        finally:
            timer.cancel()
            self._pending.pop(ask.number, None)

    def _next(self) -> int:
        self._asked += 1
        return self._asked

    def _pause(self, failures: int) -> int:
        self._pauses += 1
        pause = min(_PAUSE_NS << min(failures - 1, 10), _PAUSE_NS_MAX)
        jitter = Key(self._server.kernel.seed, f"{self._process.label}/registry/pause").unit(self._pauses)
        return int(pause * (0.5 + jitter / 2))

    # -- the session ---------------------------------------------------------------------------------------------

    def _link(self) -> Session:
        if self._session is None:
            self._sessions += 1
            self._said = 0
            self._connected = False
            process, number = self._process, self._sessions
            self._session = self._server.open(
                (process.place, process.label),
                f"{process.label}/registry/{number}",
                lambda answers: process.perform(partial(self._heard, number, answers)),
                lambda: process.perform(partial(self._lost, number)),
            )
        return self._session

    def _heard(self, session: int, answers: list[Answer]) -> None:
        if session != self._sessions or self._session is None:
            return
        self._session.down.taken(len(answers))
        for answer in answers:
            if answer.place <= self._said:
                continue  # a copy: streams have none
            if answer.place > self._said + 1:
                self._throw_away()  # a hole: what follows cannot be trusted
                return
            self._said = answer.place
            self._heard_at = self._process.now()
            self._connected = self._connected or not answer.absent
            if answer.number == 0:
                for watch in list(self._watches):
                    if watch.stream == answer.stream:
                        watch.heard(answer.value)
            else:
                future = self._pending.get(answer.number)
                if future is not None:
                    future.set(answer)

    def _lost(self, session: int) -> None:
        if session == self._sessions:
            self._throw_away()

    def _throw_away(self) -> None:
        """Drop the session with all that is asked and watched on it; watches come again on the next one."""
        session, self._session = self._session, None
        if session is not None:
            session.leave()
        self._connected = False
        self._sessions += 1
        for answered in list(self._pending.values()):
            answered.set(None)
        if self._watches and not self._closed:
            for watch in self._watches:
                watch.stream = 0
            self._reopen_later(1)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for watch in list(self._watches):
            watch.end(None)
        self._throw_away()
        for timer in (self._probe, self._reopen):
            if timer is not None:
                timer.cancel()

    def crash(self) -> None:
        """The process is dead: its connection ends, its leases run out by themselves."""
        self._closed = True
        self._watches.clear()
        self._pending.clear()
        if self._session is not None:
            self._session.leave()

    def suspend(self) -> None:
        """Its machine is: the registry finds the connection dead, and closes it. Leases run on."""
        if self._session is not None:
            self._session.forget()

    def resume(self) -> None:
        """The connection is found dead."""
        if not self._closed:
            self._throw_away()

    # -- watches -------------------------------------------------------------------------------------------------

    def begin(self, watch: SimWatch) -> None:
        """A watch is read for the first time."""
        if self._closed:
            watch.end(None)
            return
        self._watches[watch] = None
        self._open(watch, 1)
        if self._probe is None:
            self._heard_at = self._process.now()
            self._probe_later()

    def finish(self, watch: SimWatch) -> None:
        """A watch is over; its stream, if there is one, is closed."""
        self._watches.pop(watch, None)
        if watch.stream and self._session is not None and not self._closed:
            self._session.ask(Ask(self._next(), "unwatch", (watch.stream,)))

    def _open(self, watch: SimWatch, failures: int) -> None:
        number = self._next()
        opened: Future[Answer | None] = Future()
        self._pending[number] = opened
        session, asked_on = self._link(), self._sessions

        def answered(answer: Answer | None) -> None:
            patience.cancel()
            self._pending.pop(number, None)
            if answer is None:
                if asked_on == self._sessions:
                    self._throw_away()
            elif answer.absent:
                self._reopen_later(failures + 1)
            else:
                watch.stream = answer.value
                if watch not in self._watches:
                    self.finish(watch)  # it was closed meanwhile

        patience = self._process.call_at(self._process.now() + self._probe_ns, partial(opened.set, None))
        opened.then(answered)
        first, end = watch.range
        request = v.WatchRequest(key=first, range_end=end, start_revision=watch.handed_on + 1)
        session.ask(Ask(number, "watch", (request,)))

    def _reopen_later(self, failures: int) -> None:
        if self._reopen is None:
            when = self._process.now() + self._pause(failures)
            self._reopen = self._process.call_at(when, partial(self._reopen_all, failures))

    def _reopen_all(self, failures: int) -> None:
        self._reopen = None
        for watch in list(self._watches):
            if watch.stream == 0:
                self._open(watch, failures)

    def _probe_later(self) -> None:
        self._probe = self._process.call_at(self._process.now() + self._probe_ns, self._look)

    def _look(self) -> None:
        """After `probe_s` of silence ask for a sign of life, after as much again give the session up."""
        self._probe = None
        if not self._watches or self._closed:
            return
        silent = self._process.now() - self._heard_at
        if silent >= 2 * self._probe_ns:
            self._heard_at = self._process.now()
            self._throw_away()
        elif silent >= self._probe_ns:
            self._link().ask(Ask(self._next(), "hello"))
        self._probe_later()


class SimWatch:
    """palm.ports.registry.Watch. Nothing is asked before it is iterated.

    What has arrived and was not read waits here, and counts as handed on; the history that etcd keeps bounds it.
    """

    __slots__ = ("_begun", "_error", "_key", "_over", "_prefix", "_ready", "_registry", "_wake", "handed_on", "stream")

    def __init__(self, registry: SimRegistry, prefix: str, after: int) -> None:
        self._registry = registry
        self._prefix = prefix
        self._key = values.range_of(prefix)
        self._ready: deque[tuple[Change, ...]] = deque()
        self._begun = False
        self._over = False
        self._error: Exception | None = None
        self._wake: Future[None] | None = None
        self.handed_on = after
        self.stream = 0

    @property
    def range(self) -> tuple[bytes, bytes]:
        return self._key

    def __aiter__(self) -> SimWatch:
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        if not self._begun and not self._over:
            self._begun = True
            self._registry.begin(self)
        while not self._ready and not self._over:
            self._wake = Future()
            await self._wake
        if self._ready:
            return self._ready.popleft()
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._ready.clear()
        self.end(None)

    def heard(self, answer: v.WatchAnswer) -> None:
        """etcd has said something on this watch's stream."""
        if answer.compact_revision:
            self.end(
                Compacted(
                    f"watch of {self._prefix!r} cannot go on from revision {self.handed_on + 1}: history is compacted "
                    f"up to {answer.compact_revision}; list again and watch from there",
                    compact_revision=answer.compact_revision,
                )
            )
            return
        if answer.canceled:
            self.end(RegistryRefused(f"watch of {self._prefix!r}: {answer.cancel_reason or 'cancelled by etcd'}"))
            return
        changes = tuple(values.change(event) for event in answer.events if event.kv.mod_revision > self.handed_on)
        if changes:
            self.handed_on = changes[-1].record.mod_revision
            self._ready.append(changes)
            self._notify()

    def end(self, error: Exception | None) -> None:
        """No more will come; `error` is raised once everything that came before is read."""
        if not self._over:
            self._over = True
            self._error = error
            self._registry.finish(self)
            self._notify()

    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set(None)
