"""The registry of a simulated world: etcd's members, their clock, and what can go wrong with them.

Clients reach each member by sessions on the simulated network, so that links to it can be cut like any other. The state
outlives `down`; leases get their whole ttl again when somebody leads anew, as in etcd. Who leads is `palm.sim.members`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from palm.ports.host import Timer
from palm.sim.draws import Key
from palm.sim.etcd import values as v
from palm.sim.etcd.auth import Auth
from palm.sim.etcd.member import Etcd
from palm.sim.kernel import Clock
from palm.sim.members import PLACE as PLACE
from palm.sim.members import Members
from palm.sim.network import Ends, Network, Rule
from palm.sim.registry_session import Answer, Ask, Session

ELECTION_NS = 1_500_000_000
"""How long a member is away that is made to give up the lead; one alone has no leader for so long."""
PATIENCE_NS = 1_000_000_000
"""What a new leader gives each lease beside its whole ttl: etcd's election timeout."""
WRITES = frozenset({"put", "delete_range", "txn", "lease_grant", "lease_revoke"})
Applied = Literal["all", "none", "some"]
USER, PASSWORD = "palm", "secret"
"""Whom a registry knows that wants to know who asks."""


class RegistryServer:
    """etcd, its clock, and its troubles. Every trouble counts in `bitten` what it touched."""

    def __init__(
        self, network: Network, *, members: int = 1, etcd: Etcd | None = None, answer_ns: int = 300_000
    ) -> None:
        """`answer_ns`: how long etcd takes over one request."""
        self.network = network
        self.kernel: Clock = network.kernel
        self.etcd = etcd if etcd is not None else Etcd()
        self.auth: Auth | None = None
        """None: everybody may do everything."""
        self.has_space = True
        """False: etcd's quota is used up, and what would write more is refused."""
        self.history: int | None = None
        """How many revisions are kept; None: all."""
        self.notifies_progress = False
        """Every watch is told how far it is, as if it had asked for that."""
        self.progress_overtakes = False
        """The answer to a question for progress does not wait for events that are late, as in etcd before 3.4.25 and
        3.5.8."""
        self.on_watch: Callable[[str, int], None] = lambda client, events: None
        """Called with the label of a client and how many events its watch is told."""
        self.bitten: dict[str, int] = {}
        self._answer_ns = answer_ns
        self._lag_ns = 0
        self._watches_at = 0
        self._late: list[tuple[int, Timer, Callable[[], None]]] = []
        self._unsure = 0
        self._unsure_applied: Applied = "all"
        self._unsure_key = Key(self.kernel.seed, "registry/unsure")
        self._unsure_count = 0
        self._tick: Timer | None = None
        self._tick_at = 0
        self._sessions: dict[Session, Callable[[], None]] = {}
        self._streams: dict[int, Session] = {}
        self._parked: list[tuple[Session, Ask]] = []
        self.members = Members(
            network, members, on_leader=self._led, on_touch=self._touched, on_streams=self._end_streams
        )

    def open(
        self,
        client: tuple[str, str],
        name: str,
        heard: Callable[[list[Answer]], None],
        lost: Callable[[], None],
        member: int = 0,
    ) -> Session:
        """A new session of a client. `lost` is called where the client learns that the server has closed it."""
        session = Session(self, member, self.members.places[member], client, name, heard)
        self._sessions[session] = lost
        return session

    def want_password(self, token_ttl_ns: int) -> None:
        """From now on USER with PASSWORD may use `/palm/`, and nobody else may."""
        self.auth = Auth(token_ttl_ns)
        self.auth.add_user(USER, PASSWORD, "/palm/")

    # -- troubles of all -----------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """At least one member is."""
        return any(self.members.up)

    def down(self) -> None:
        """Every member is gone: connections break, requests are refused unread. The state stays."""
        if self.is_up:
            self.kernel.trace.record(PLACE, PLACE, "down")
            for member in range(self.members.count):
                self.members.crash(member)
            self._break_sessions("down")

    def up(self) -> None:
        """All are back, with their state; leases start their ttl anew once somebody leads."""
        if not all(self.members.up):
            self.kernel.trace.record(PLACE, PLACE, "up")
            if self.auth is not None and not self.is_up:
                self.auth.forget_tokens()
            for member in range(self.members.count):
                self.members.restart(member)

    def lose_quorum(self) -> list[Rule]:
        """Too few members are left: no lease ends, and nothing is decided. One alone says that it has no leader; of
        several, a majority are frozen, and the rules that hold what is said to them are returned."""
        members = self.members
        if members.count > 1:
            return [members.freeze(member, "lose-quorum") for member in range(members.majority)]
        if not members.headless:
            self.kernel.trace.record(PLACE, PLACE, "no quorum")
            members.headless = True
            members.look()
            self._break_sessions("lose-quorum")  # `hasleader` on a watch: a member without a leader ends it
        return []

    def regain_quorum(self) -> None:
        """A leader is elected; leases start their ttl anew."""
        members = self.members
        if members.count > 1:
            for member in range(members.majority):
                members.thaw(member)
        elif members.headless:
            self.kernel.trace.record(PLACE, PLACE, "quorum")
            members.headless = False
            members.look()

    def change_leader(self) -> None:
        """The leader goes; another is elected. It is back after `ELECTION_NS`."""
        if self.members.count > 1:
            member = self.members.who_leads()
            self.crash(member)
            self.kernel.call_at(self.kernel.now + ELECTION_NS, partial(self.restart, member))
        else:
            self.lose_quorum()
            self.kernel.call_at(self.kernel.now + ELECTION_NS, self.regain_quorum)

    # -- troubles of one -----------------------------------------------------------------------------------------------

    def crash(self, member: int) -> None:
        """Its connections break, and new ones are refused. Harmless when it is down."""
        if self.members.up[member]:
            place = self.members.places[member]
            self.kernel.trace.record(place, place, "down")
            self.members.crash(member)
            self._break_sessions(place, member=member)

    def restart(self, member: int) -> None:
        """It is back, and knows at once what the others know. Harmless when it is up."""
        if not self.members.up[member]:
            place = self.members.places[member]
            self.kernel.trace.record(place, place, "up")
            self.members.restart(member)

    # -- troubles of what it says --------------------------------------------------------------------------------------

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
            here, there = session.up.path.src, session.up.path.dst
            if self.network.meant(ends, here, there) or self.network.meant(ends, there, here):
                session.forget()
                self.kernel.call_soon(lost)
                broken += 1
        return broken

    def unsure(self, writes: int = 1, applied: Applied = "all") -> None:
        """Lose the answers to the next `writes` writes. All of them are applied, or none, or each by chance."""
        self._unsure = writes
        self._unsure_applied = applied

    def refuse_users(self) -> None:
        """Their password is another, and their tokens are worth nothing."""
        assert self.auth is not None, "a registry that wants no password has none to change"
        self.auth.set_password(USER, "another")

    def trust_users(self) -> None:
        """Their password is what it was."""
        assert self.auth is not None, "a registry that wants no password has none to change"
        self.auth.set_password(USER, PASSWORD)

    # -- serving -------------------------------------------------------------------------------------------------

    def asked(self, session: Session, ask: Ask) -> None:
        """One request has arrived."""
        members, member = self.members, session.member
        if not members.up[member]:
            self._bit(members.places[member] if self.is_up else "down")
            session.say(ask.number, absent="connection refused")
        elif ask.method == "hello" and members.count > 1:
            self._later(partial(session.say, ask.number))  # whoever is up can say that much
        elif not members.serves(member):
            self._bit("lose-quorum")
            if members.is_unaware(member):
                self._parked.append((session, ask))
            else:
                self._later(partial(session.say, ask.number, absent="no leader"))
        elif self._unsure and ask.method in WRITES:
            self._doubt(session, ask)
            self._settle()
        else:
            self._answer(session, ask)
            self._settle()

    def _answer(self, session: Session, ask: Ask) -> None:
        try:
            value = self._do(session, ask)
        except v.EtcdRefused as refusal:
            if refusal.refusal is v.Refusal.AUTH_FAILED:
                self._bit("refuse")
            self._later(partial(session.say, ask.number, refusal=refusal))
        else:
            self._later(partial(session.say, ask.number, value=value))

    def _doubt(self, session: Session, ask: Ask) -> None:
        """Do it or not, and say nothing; what is refused is said."""
        self._unsure_count += 1
        by_chance = self._unsure_applied == "some" and self._unsure_key.unit(self._unsure_count) < 0.5
        if self._unsure_applied == "all" or by_chance:
            try:
                self._do(session, ask)
            except v.EtcdRefused as refusal:
                self._later(partial(session.say, ask.number, refusal=refusal))
                return
        self._unsure -= 1
        self._bit("unsure")

    def forget(self, session: Session) -> None:
        """The session is over."""
        self._sessions.pop(session, None)
        for stream in session.streams:
            self._streams.pop(stream, None)
            self.etcd.watch_close(stream)

    def _do(self, session: Session, ask: Ask) -> Any:
        now = self.kernel.now
        if self.auth is not None and ask.method not in ("hello", "authenticate", "unwatch", "progress"):
            self.auth.check(ask.token, ask.method, ask.arguments, now)
        match ask.method:
            case "hello":
                return None
            case "authenticate":
                if self.auth is None:
                    raise v.EtcdRefused(v.Refusal.AUTH_DISABLED)
                user, password = ask.arguments
                return self.auth.authenticate(user, password, now)
            case "watch":
                (request,) = ask.arguments
                stream = self.etcd.watch_open(now)
                self._streams[stream] = session
                session.streams[stream] = None
                self.etcd.watch_create(stream, replace(request, progress_notify=self.notifies_progress), now)
                return stream
            case "unwatch":
                (stream,) = ask.arguments
                if stream in session.streams:
                    self._close_stream(session, stream)
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
                value = getattr(self.etcd, ask.method)(*ask.arguments, now)
                if self.history is not None:
                    self._keep_history(self.history)
                return value

    def _keep_history(self, revisions: int) -> None:
        oldest = self.etcd.revision - revisions
        if oldest > max(1, self.etcd.compact_revision):
            self.etcd.compact(oldest, self.kernel.now)

    # -- who leads -----------------------------------------------------------------------------------------------------

    def _led(self, leader: int | None) -> None:
        if leader is None:
            self.etcd.demote()
        else:
            self.etcd.promote(self.kernel.now, PATIENCE_NS)

    def _touched(self, member: int) -> None:
        """What it was asked to read or to renew while it had no leader is done now; writes were lost on their way to
        the leader that was."""
        parked, self._parked = self._parked, [one for one in self._parked if one[0].member != member]
        for session, ask in parked:
            if session.member == member and not session.closed and ask.method not in WRITES:
                self._answer(session, ask)
        self._settle()

    def _end_streams(self, member: int) -> None:
        for session in list(self._sessions):
            if session.member == member:
                for stream in list(session.streams):
                    self._bit("lose-quorum")
                    self._close_stream(session, stream)
                    session.say(0, stream=stream, absent="no leader")

    def _close_stream(self, session: Session, stream: int) -> None:
        del session.streams[stream], self._streams[stream]
        self.etcd.watch_close(stream)

    # -- what watches hear ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Say what the watches have to say, and set the clock to when etcd next has something to do."""
        for stream in self.etcd.ready():
            session = self._streams[stream]
            if self.members.serves(session.member):
                for answer in self.etcd.watch_take(stream):
                    self._say(session, stream, answer)
        deadline = self.etcd.deadline
        if deadline is not None and (self._tick is None or deadline < self._tick_at):
            if self._tick is not None:
                self._tick.cancel()
            self._tick_at = deadline
            self._tick = self.kernel.call_at(deadline, self._ticked)

    def _say(self, session: Session, stream: int, answer: v.WatchAnswer) -> None:
        if answer.events:
            self.on_watch(session.down.dst, len(answer.events))
        say = partial(session.say, 0, stream=stream, value=answer)
        if self.progress_overtakes and answer.watch_id == -1:
            self._later(say)
            return
        if self._lag_ns:
            self._bit("lag-watch")
        # What was said late must not be overtaken when the lag ends: a stream keeps its order.
        self._watches_at = max(self._watches_at, self.kernel.now + self._answer_ns + self._lag_ns)
        timer = self.kernel.call_at(self._watches_at, say)
        if self._lag_ns:
            self._late.append((self._watches_at, timer, say))

    def _ticked(self) -> None:
        self._tick = None
        if self.is_up:
            self.etcd.tick(self.kernel.now)
            self._settle()

    def _later(self, say: Callable[[], None]) -> None:
        self.kernel.call_at(self.kernel.now + self._answer_ns, say)

    def _break_sessions(self, why: str, *, watching: bool = False, member: int | None = None) -> None:
        for session, lost in list(self._sessions.items()):
            if (watching and not session.streams) or (member is not None and session.member != member):
                continue
            self._bit(why)
            if self.network.passes(session.down.path.src, session.down.path.dst):
                session.down.after_all(lost, session.down.path.link.delay.sample(0.5))
            session.forget()

    def _bit(self, trouble: str) -> None:
        self.bitten[trouble] = self.bitten.get(trouble, 0) + 1
