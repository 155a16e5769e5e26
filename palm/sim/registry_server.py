"""The registry of a simulated world: one etcd on a host of its own, and what can go wrong with it.

Clients reach it by sessions, a pipe each way on the simulated network, so that links to it can be cut like any other. A
session is what a connection is to etcd: what is lost on it is lost with all that comes after, as on a stream, and the
client makes a new one. The state outlives `down`; leases get their whole ttl again when it comes back, as in etcd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from palm.ports.host import Timer
from palm.sim.etcd import values as v
from palm.sim.etcd.member import Etcd
from palm.sim.kernel import NANOSECONDS, Clock
from palm.sim.network import Ends, Network, Pipe

PLACE = "registry"
ELECTION_NS = 1_500_000_000
"""How long etcd is without a leader when its leader goes: election timeout and a round or two."""
_LINGER_NS = 15 * NANOSECONDS  # a session whose client was cut off as it died is forgotten after this long


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `number` counts the requests of a session, from 1."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of request `number`: etcd's answer, its refusal, or `absent` saying why nobody could decide it.

    `number` 0 is for what a watch stream says unasked: `stream` and a list of its answers. `place` counts everything
    that the server has said on the session, from 1, so that a gap is seen.
    """

    place: int
    number: int
    value: Any = None
    refusal: v.EtcdRefused | None = None
    absent: str = ""
    stream: int = 0


class Session:
    """One client's connection, seen from both ends."""

    __slots__ = ("_last_asked", "_server", "closed", "down", "said", "streams", "up")

    def __init__(
        self, server: RegistryServer, client: tuple[str, str], name: str, heard: Callable[[list[Answer]], None]
    ) -> None:
        network, there = server.network, (PLACE, PLACE)
        self._server = server
        self.up: Pipe[Ask] = network.pipe(client, there, f"{name}/up", self._asked)
        self.down: Pipe[Answer] = network.pipe(there, client, f"{name}/down", heard)
        self.streams: dict[int, None] = {}
        self.said = 0
        self.closed = False
        self._last_asked = 0

    def ask(self, ask: Ask) -> None:
        """Send one request. It may be lost."""
        self.up.send(ask, (repr(ask).encode(),))

    def leave(self) -> None:
        """The client is done with it; the server learns of it behind what was asked."""
        self.down.closed = True
        if self._server.network.passes(self.up.path.src, self.up.path.dst):
            self.up.after_all(self.forget, self.up.path.link.delay.sample(0.5))
        else:
            self._server.kernel.call_at(self._server.kernel.now + _LINGER_NS, self.forget)

    def say(self, number: int, **what: Any) -> None:
        """Answer, unless the session has broken; it breaks here when the answer is certainly lost."""
        if self.closed:
            return
        self.said += 1
        answer = Answer(self.said, number, **what)
        if not self.down.send(answer, (repr(answer).encode(),)):
            # A stream has no holes: what is lost takes the rest with it, and the client finds it silent.
            self.forget()

    def forget(self) -> None:
        self.closed = True
        self.up.closed = True
        self._server.forget(self)

    def _asked(self, asks: list[Ask]) -> None:
        self.up.taken(len(asks))
        for ask in asks:
            if ask.number > self._last_asked and not self.closed:  # else a copy, or overtaken: streams have neither
                self._last_asked = ask.number
                self._server.asked(self, ask)


class RegistryServer:
    """etcd, its clock, and its troubles. Every trouble counts in `bitten` what it touched."""

    def __init__(self, network: Network, *, etcd: Etcd | None = None, answer_ns: int = 300_000) -> None:
        """`answer_ns`: how long etcd takes over one request."""
        self.network = network
        self.kernel: Clock = network.kernel
        self.etcd = etcd if etcd is not None else Etcd()
        self.is_up = True
        self.has_quorum = True
        self.has_space = True
        """False: etcd's quota is used up, and what would write more is refused."""
        self.on_watch: Callable[[str, int], None] = lambda client, events: None
        """Called with the label of a client and how many events its watch is told."""
        self.bitten: dict[str, int] = {}
        self._answer_ns = answer_ns
        self._lag_ns = 0
        self._watches_at = 0
        self._late: list[tuple[int, Timer, Callable[[], None]]] = []
        self._unsure = 0
        self._tick: Timer | None = None
        self._tick_at = 0
        self._sessions: dict[Session, Callable[[], None]] = {}
        self._streams: dict[int, Session] = {}
        network.add_host(PLACE)

    def open(
        self, client: tuple[str, str], name: str, heard: Callable[[list[Answer]], None], lost: Callable[[], None]
    ) -> Session:
        """A new session of a client. `lost` is called where the client learns that the server has closed it."""
        session = Session(self, client, name, heard)
        self._sessions[session] = lost
        return session

    # -- troubles ------------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Every member is gone: connections break, requests are refused unread. The state stays."""
        if self.is_up:
            self.is_up = False
            self.kernel.trace.record(PLACE, PLACE, "down")
            self.etcd.demote()
            self._break_sessions("down")

    def up(self) -> None:
        """Back, with its state; leases start their ttl anew."""
        if not self.is_up:
            self.is_up = True
            self.kernel.trace.record(PLACE, PLACE, "up")
            if self.has_quorum:
                self.etcd.promote(self.kernel.now)
            self._settle()

    def lose_quorum(self) -> None:
        """Too few members are left: they answer, but only that they have no leader, and no lease ends."""
        if self.has_quorum:
            self.has_quorum = False
            self.kernel.trace.record(PLACE, PLACE, "no quorum")
            self.etcd.demote()
            self._break_sessions("lose-quorum")  # `hasleader` on a watch: a member without a leader ends it

    def regain_quorum(self) -> None:
        """A leader is elected; leases start their ttl anew."""
        if not self.has_quorum:
            self.has_quorum = True
            self.kernel.trace.record(PLACE, PLACE, "quorum")
            if self.is_up:
                self.etcd.promote(self.kernel.now)
            self._settle()

    def change_leader(self) -> None:
        """The leader goes; another is elected after `ELECTION_NS`."""
        self.lose_quorum()
        self.kernel.call_at(self.kernel.now + ELECTION_NS, self.regain_quorum)

    def expire(self, lease: int) -> None:
        """End one lease now, as if nobody had renewed it. Raises EtcdRefused when there is none."""
        self.etcd.lease_revoke(lease, self.kernel.now)
        self._bit("expire")
        self._settle()

    def compact(self, revision: int | None = None) -> None:
        """Forget all history below `revision`, or below the newest."""
        self.etcd.compact(self.etcd.revision if revision is None else revision, self.kernel.now)
        self._bit("compact")
        self._settle()

    def lag_watch(self, by_ns: int) -> None:
        """From now on, say what watches have to say that much later; 0 ends it, and what is late comes at once."""
        self._lag_ns = by_ns
        if not by_ns:
            late, self._late = self._late, []
            for moment, timer, say in late:
                if moment > self.kernel.now:
                    timer.cancel()
                    self.kernel.call_soon(say)
            self._watches_at = self.kernel.now
        self._settle()

    def drop_watches(self) -> None:
        """Break every session that has a watch."""
        self._break_sessions("drop-watch", watching=True)

    def reset(self, ends: Ends) -> int:
        """Break the sessions on these links; how many there were."""
        broken = 0
        for session, lost in list(self._sessions.items()):
            place = session.up.path.src
            if self.network.meant(ends, place, PLACE) or self.network.meant(ends, PLACE, place):
                session.forget()
                self.kernel.call_soon(lost)
                broken += 1
        return broken

    def unsure(self, writes: int = 1) -> None:
        """Apply the next `writes` writes, and lose their answers."""
        self._unsure = writes

    # -- serving -------------------------------------------------------------------------------------------------

    def asked(self, session: Session, ask: Ask) -> None:
        """One request has arrived."""
        if not self.is_up:
            self._bit("down")
            session.say(ask.number, absent="connection refused")
        elif not self.has_quorum:
            self._bit("lose-quorum")
            self._later(partial(session.say, ask.number, absent="no leader"))
        else:
            try:
                value = self._do(session, ask)
            except v.EtcdRefused as refusal:
                self._later(partial(session.say, ask.number, refusal=refusal))
            else:
                if self._unsure and ask.method in ("put", "delete_range", "txn", "lease_grant", "lease_revoke"):
                    self._unsure -= 1
                    self._bit("unsure")
                else:
                    self._later(partial(session.say, ask.number, value=value))
            self._settle()

    def forget(self, session: Session) -> None:
        """The session is over."""
        self._sessions.pop(session, None)
        for stream in session.streams:
            self._streams.pop(stream, None)
            self.etcd.watch_close(stream)

    def _do(self, session: Session, ask: Ask) -> Any:
        now = self.kernel.now
        match ask.method:
            case "hello":
                return None
            case "watch":
                stream = self.etcd.watch_open(now)
                self._streams[stream] = session
                session.streams[stream] = None
                self.etcd.watch_create(stream, ask.arguments[0], now)
                return stream
            case "unwatch":
                (stream,) = ask.arguments
                if stream in session.streams:
                    del session.streams[stream], self._streams[stream]
                    self.etcd.watch_close(stream)
                return None
            case "progress":
                (stream,) = ask.arguments
                if stream in session.streams:
                    self.etcd.progress(stream, now)
                return None
            case "put" | "txn" | "lease_grant" if not self.has_space:
                self._bit("no space")
                raise v.EtcdRefused(v.Refusal.NO_SPACE)
            case _:
                return getattr(self.etcd, ask.method)(*ask.arguments, now)

    def _settle(self) -> None:
        """Say what the watches have to say, and set the clock to when etcd next has something to do."""
        if self.is_up and self.has_quorum:
            for stream in self.etcd.ready():
                session = self._streams[stream]
                for answer in self.etcd.watch_take(stream):
                    if answer.events:
                        self.on_watch(session.down.dst, len(answer.events))
                    if self._lag_ns:
                        self._bit("lag-watch")
                    # What was said late must not be overtaken when the lag ends: a stream keeps its order.
                    self._watches_at = max(self._watches_at, self.kernel.now + self._answer_ns + self._lag_ns)
                    say = partial(session.say, 0, stream=stream, value=answer)
                    timer = self.kernel.call_at(self._watches_at, say)
                    if self._lag_ns:
                        self._late.append((self._watches_at, timer, say))
        deadline = self.etcd.deadline
        if deadline is not None and (self._tick is None or deadline < self._tick_at):
            if self._tick is not None:
                self._tick.cancel()
            self._tick_at = deadline
            self._tick = self.kernel.call_at(deadline, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        if self.is_up:
            self.etcd.tick(self.kernel.now)
            self._settle()

    def _later(self, say: Callable[[], None]) -> None:
        self.kernel.call_at(self.kernel.now + self._answer_ns, say)

    def _break_sessions(self, why: str, *, watching: bool = False) -> None:
        for session, lost in list(self._sessions.items()):
            if watching and not session.streams:
                continue
            self._bit(why)
            if self.network.passes(PLACE, session.down.path.dst):
                session.down.after_all(lost, session.down.path.link.delay.sample(0.5))
            session.forget()

    def _bit(self, trouble: str) -> None:
        self.bitten[trouble] = self.bitten.get(trouble, 0) + 1
