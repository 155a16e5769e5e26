"""The registry port on the simulated etcd: requests over the simulated network, with the real adapter's rules.

Each request has a deadline, shared out over several tries, each at the next of etcd's members where the last one
failed; reads and puts are repeated, a transaction that may have been sent is `Indefinite`. A watch resumes from what it
handed on. Silence is a fault: a line that says nothing for `probe_s` is asked, and thrown away when it then stays
silent. This file knows nothing of etcd's own rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from palm.errors import (
    AuthRefused,
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
from palm.sim.registry_line import Line, Process
from palm.sim.registry_server import RegistryServer
from palm.sim.registry_session import Answer, Ask
from palm.sim.registry_token import Token

WAY_OUT = "see the script's steps on the registry, and its links"
_PAUSE_NS, _PAUSE_NS_MAX = 100_000_000, 1_000_000_000
_PAUSES_MIN = 5  # no pause is longer than that part of a call's time: a renewal must not sleep through its chance
_LISTINGS_MAX = 3
_TOKENS_MAX = 3  # repeated authentications within one call; more often means that tokens do not work here
_NO_TOKEN = (v.Refusal.INVALID_TOKEN, v.Refusal.NO_USER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """As the real adapter's. `tries` is how many equal parts the time of a call is divided into, at least 0.5 s
    each."""

    user: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = 5.0
    tries: int = 3
    probe_s: float = 2.0
    page: int = 1000


class SimRegistry:
    """palm.ports.registry.Registry for one process. Connects when it is first used."""

    __slots__ = (
        "_asked",
        "_at",
        "_closed",
        "_leases",
        "_lines",
        "_pauses",
        "_probe_ns",
        "_process",
        "_reopen",
        "_server",
        "_settings",
        "_token",
        "_watches",
    )

    def __init__(
        self, server: RegistryServer, process: Process, settings: RegistrySettings = RegistrySettings()
    ) -> None:
        self._server = server
        self._process = process
        self._settings = settings
        count = server.members.count
        self._lines = [Line(process, server, member, self._told, self._broken) for member in range(count)]
        # Spread over the members; instances that start together would all sit on the first one.
        self._at = self._draw("first").random(0).randrange(count) if count > 1 else 0
        self._token = Token(bool(settings.user), process.now, self._authenticate)
        self._pauses = 0
        self._asked = 0
        self._leases: dict[LeaseId, int] = {}
        self._watches: dict[SimWatch, None] = {}
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
        with_token: bool = True,
    ) -> Any:
        """Ask until it is answered or the time is up. `once`: never again when it may have been applied;
        `gone_is_done`: a lease that is unknown after an unsure try was ended by that try."""
        began, total = self._process.now(), round((timeout_s or self._settings.timeout_s) * NANOSECONDS)
        deadline = began + total
        per_try = max(NANOSECONDS // 2, total // self._settings.tries)
        if len(self._lines) > 1:
            per_try = min(per_try, total // 2)  # one that is dead must not take up all of it
        failures, tokens, unsure, was_there, why = 0, 0, False, False, "no answer"
        while (left := deadline - self._process.now()) > 0 and not self._closed:
            token = ""
            if with_token and self._token.used:
                token = await self._token.get(left)
                left = deadline - self._process.now()
            line = self._lines[self._at]
            sent_at = self._process.now()
            if once and not line.connected:
                answer = await line.ask(Ask(self._next(), "hello"), min(per_try, left))
                unsure_now = False
                left = deadline - self._process.now()
            if not once or line.connected:
                answer = await line.ask(Ask(self._next(), method, arguments, token), min(per_try, left))
                unsure_now = answer is None
            if answer is not None and not answer.absent:
                if answer.refusal is None:
                    return answer.value
                if gone_is_done and unsure and answer.refusal.refusal is v.Refusal.LEASE_NOT_FOUND:
                    return None
                if answer.refusal.refusal in _NO_TOKEN and self._token.used and tokens < _TOKENS_MAX:
                    tokens += 1
                    await self._token.get(left, stale=token)
                    continue
                raise values.refused(operation, answer.refusal) from answer.refusal
            spent_s = (self._process.now() - began) / NANOSECONDS
            if unsure_now and once:
                self._leave(line)
                raise Indefinite(
                    f"{operation} was sent to the registry and may have been applied: no answer after {spent_s:.1f} s; "
                    "read back a value of your own before repeating it"
                )
            failures += 1
            unsure = unsure or unsure_now
            was_there = was_there or (unsure_now and line.connected)
            why = answer.absent if answer is not None else "no answer"
            timed_out = answer is None and self._process.now() > sent_at
            self._leave(line)
            if timed_out and line.heard_at <= sent_at:
                line.throw_away()  # nothing at all came back since: the connection may be dead
            elif failures % len(self._lines) == 0:
                # Also where another call threw the session away under this one: else two would do it to each other
                # for ever.
                pause = min(self._pause(failures // len(self._lines)), total // _PAUSES_MIN)
                await self._process.sleep(min(pause, max(0, deadline - self._process.now())))
        raise self._exhausted(operation, began, was_there, unsure, why)

    def _leave(self, line: Line) -> None:
        """Go on to the next member, if `line` is what is used now."""
        if self._lines[self._at] is line:
            self._at = (self._at + 1) % len(self._lines)

    async def _authenticate(self, within_ns: int) -> str:
        token: str = await self._call(
            "authenticate",
            "authenticate",
            self._settings.user,
            self._settings.password,
            timeout_s=within_ns / NANOSECONDS,
            with_token=False,
        )
        return token

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

    def _next(self) -> int:
        self._asked += 1
        return self._asked

    def _pause(self, failures: int) -> int:
        self._pauses += 1
        pause = min(_PAUSE_NS << min(failures - 1, 10), _PAUSE_NS_MAX)
        jitter = self._draw("pause").unit(self._pauses)
        return int(pause * (0.5 + jitter / 2))

    def _draw(self, what: str) -> Key:
        return Key(self._server.kernel.seed, f"{self._process.label}/registry/{what}")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for watch in list(self._watches):
            watch.end(None)
        for line in self._lines:
            line.throw_away()
            if line.probe is not None:
                line.probe.cancel()
        if self._reopen is not None:
            self._reopen.cancel()

    def crash(self) -> None:
        """The process is dead: its connections end, its leases run out by themselves."""
        self._closed = True
        self._watches.clear()
        for line in self._lines:
            line.pending.clear()
            if line.session is not None:
                line.session.leave()

    def suspend(self) -> None:
        """Its machine is: the registry finds the connections dead, and closes them. Leases run on."""
        for line in self._lines:
            if line.session is not None:
                line.session.forget()

    def resume(self) -> None:
        """The connections are found dead."""
        if not self._closed:
            for line in self._lines:
                line.throw_away()

    # -- watches -------------------------------------------------------------------------------------------------

    def begin(self, watch: SimWatch) -> None:
        """A watch is read for the first time."""
        if self._closed:
            watch.end(None)
            return
        self._watches[watch] = None
        self._open(watch, 1)

    def finish(self, watch: SimWatch) -> None:
        """A watch is over; its stream, if there is one, is closed."""
        self._watches.pop(watch, None)
        line = watch.line
        if watch.stream and line is not None and line.session is not None and not self._closed:
            line.session.ask(Ask(self._next(), "unwatch", (watch.stream,)))

    def _open(self, watch: SimWatch, failures: int) -> None:
        number = self._next()
        opened: Future[Answer | None] = Future()
        line = watch.line = self._lines[self._at]
        session, life = line.link(), line.lives
        line.pending[number] = opened
        token = self._token.value or ""

        def answered(answer: Answer | None) -> None:
            patience.cancel()
            line.pending.pop(number, None)
            if answer is None:
                if life == line.lives:
                    self._leave(line)
                    line.throw_away()
            elif answer.absent:
                self._again(watch, line, failures + 1)
            elif answer.refusal is not None:
                self._denied(watch, answer.refusal, token)
            else:
                watch.stream, watch.denied = answer.value, 0
                if watch not in self._watches:
                    self.finish(watch)  # it was closed meanwhile
                elif line.probe is None:
                    self._probe_at(line, self._process.now() + self._probe_ns)

        patience = self._process.call_at(self._process.now() + self._probe_ns, partial(opened.set, None))
        opened.then(answered)
        first, end = watch.range
        request = v.WatchRequest(key=first, range_end=end, start_revision=watch.handed_on + 1)
        session.ask(Ask(number, "watch", (request,), token))

    def _told(self, line: Line, answer: Answer) -> None:
        """A stream of that line has said something."""
        for watch in list(self._watches):
            if watch.line is line and watch.stream == answer.stream:
                if answer.absent:
                    self._again(watch, line, 1)
                else:
                    watch.heard(answer.value)

    def _broken(self, line: Line) -> None:
        """The watches of that line come again on the next one."""
        if self._closed:
            return
        for watch in self._watches:
            if watch.line is line:
                watch.line, watch.stream = None, 0
                self._reopen_later(1)

    def _again(self, watch: SimWatch, line: Line, failures: int) -> None:
        watch.line, watch.stream = None, 0
        self._leave(line)
        self._reopen_later(failures)

    def _denied(self, watch: SimWatch, refusal: v.EtcdRefused, token: str) -> None:
        """etcd denies a watch whose token is not known as it denies one that is not permitted: a fresh one tells."""
        watch.line, watch.stream = None, 0
        watch.denied += 1
        if not self._token.used or watch.denied > 1:
            watch.end(values.refused("watch", refusal))
        else:
            self._process.spawn(self._with_fresh_token(watch, token), "token")

    async def _with_fresh_token(self, watch: SimWatch, stale: str) -> None:
        try:
            await self._token.get(self._probe_ns, stale=stale)
        except AuthRefused as refusal:
            watch.end(refusal)
        except RegistryError:
            watch.denied = 0  # nobody was there to ask
        self._reopen_later(1)

    def _reopen_later(self, failures: int) -> None:
        if self._reopen is None:
            when = self._process.now() + self._pause(failures)
            self._reopen = self._process.call_at(when, partial(self._reopen_all, failures))

    def _reopen_all(self, failures: int) -> None:
        self._reopen = None
        for watch in list(self._watches):
            if watch.line is None:
                self._open(watch, failures)

    # -- silence -------------------------------------------------------------------------------------------------------

    def _probe_at(self, line: Line, when: int) -> None:
        line.probe = self._process.call_at(when, partial(self._look, line))

    def _look(self, line: Line) -> None:
        """After `probe_s` of silence ask how far the streams are, after half as much again anything at all, and after
        as much again give the line up."""
        line.probe = None
        streams = [watch.stream for watch in self._watches if watch.line is line and watch.stream]
        if not streams or line.session is None or self._closed:
            return
        now, half = self._process.now(), self._probe_ns // 2
        silent = now - line.heard_at
        if silent < 2 * half:
            self._probe_at(line, line.heard_at + self._probe_ns)
            return
        if silent < 3 * half:
            for stream in streams:
                line.session.ask(Ask(self._next(), "progress", (stream,)))
        elif silent < 4 * half:
            line.session.ask(Ask(self._next(), "hello"))
        else:
            self._leave(line)
            line.throw_away()
            return
        self._probe_at(line, now + half)


class SimWatch:
    """palm.ports.registry.Watch. Nothing is asked before it is iterated.

    What has arrived and was not read waits here, and counts as handed on; the history that etcd keeps bounds it.
    """

    __slots__ = (
        "_begun",
        "_error",
        "_key",
        "_over",
        "_prefix",
        "_ready",
        "_registry",
        "_wake",
        "denied",
        "handed_on",
        "line",
        "stream",
    )

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
        self.line: Line | None = None
        """Where it is watched, or is asked for; None between two."""
        self.stream = 0
        self.denied = 0
        """Refusals in a row."""

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
