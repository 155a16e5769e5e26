"""The node of a butterfly server's instance: it leads, leads and works, or works for the instance that leads.

One `ServerNode` is at the heart of it in all roles, with one memory: as the leader's it takes what clients send, as a
worker's what the leader hands over. So a worker that is elected answers what it has run before from memory. What is
added here is who runs a message (`palm.core.leader`), for whom (`palm.core.worker`), and whether this instance may act
at all (`palm.core.election`).
"""

from __future__ import annotations

from typing import Container, Iterable, Sequence

from palm.core.credit import Credit
from palm.core.effect import Abandon, Drained, Effect, Follow, HangUp, Invoke, Send, Stand
from palm.core.election import Mandate
from palm.core.event import (
    Bounced,
    Deposed,
    DrainAsked,
    Elected,
    Event,
    Finished,
    Heard,
    InstanceDown,
    InstanceUp,
    Received,
    Tick,
)
from palm.core.folding import Pack, asked_again, spelled_out
from palm.core.leader import Lead
from palm.core.message import Batch, Instance, JobId, Leg, Peer, Pong, Pull, Role, Status
from palm.core.names import BUILT_IN
from palm.core.scatter import Policy, Scatter
from palm.core.server import Counters, ServerNode
from palm.core.worker import Desk

BESIDE = 256
"""How many messages an instance wants whose functions are coroutines: they run beside each other."""


class ButterflyNode:
    """`concurrent`: its functions are coroutines. `scatter`: messages are taken apart and gathered again. The owner
    follows the server's own name for it."""

    def __init__(
        self,
        *,
        peer: Peer,
        server: str,
        functions: Sequence[str],
        cluster: str = "palm",
        max_in_flight: int = 16_384,
        now: int = 0,
        concurrent: bool = False,
        pack: Pack | None = None,
        scatter: Policy | None = None,
    ) -> None:
        self.server = ServerNode(
            peer=peer,
            server=server,
            functions=functions,
            cluster=cluster,
            max_in_flight=max_in_flight,
            pack=pack,
            now=now,
        )
        self.server.leads = False
        self.credit = Credit(BESIDE if concurrent else 1)
        self.mandate = Mandate()
        self.lead: Lead | None = None
        self.desk = Desk(self.credit, cluster=cluster, server=server)
        self.peer = peer
        self._name = server
        self._scatter = scatter
        self._mates: dict[Peer, Instance] = {}
        self._server_follows_own = False
        self._running = 0
        self._aside: set[int] = set()
        self._stood: tuple[Role, int] = ("worker", 0)
        self._server_has_drained = False
        self._has_drained = False

    # -- the Node protocol --------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        deadlines = [self.server.deadline, self.desk.deadline]
        if self.lead is not None:
            deadlines += [self.lead.deadline, self.mandate.until]
        return min((one for one in deadlines if one is not None), default=None)

    @property
    def in_flight(self) -> int:
        return self.server.in_flight

    def handle(self, event: Event, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if self.lead is not None and not self.mandate.holds(now):
            # Before anything else: what has happened meanwhile is no business of ours any more.
            effects += self._step_down(now)
        effects += self._react(event, now)
        if self.lead is not None:
            effects += self._hand_out(self.lead, now)
        effects += self._stand()
        effects += self.desk.hand_in(now, idle=not self._running)
        if self._server_has_drained and not self._running and not self._has_drained:
            self._has_drained = True
            effects.append(Drained())
        return effects

    def _react(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Received():
                return self._received(event, now)
            case Finished():
                return self._finished(event, now)
            case Heard():
                return self._heard(event, now)
            case Bounced() if event.batch.header.leg:
                if self.lead is not None and event.batch.header.term == self.lead.term:
                    self.lead.returned(event.peer, event.batch)
                return []  # an answer: the leader, where it lives, asks again
            case InstanceUp() if event.instance.server == self._name:
                return self._mate_up(event, now)
            case InstanceDown() if event.server == self._name:
                return self._mate_down(event, now)
            case Elected():
                return self._elected(event, now)
            case Deposed():
                return self._step_down(now)
            case DrainAsked():
                return self._drain(event, now)
            case Tick():
                over = [] if self.lead is None else self._settle(self.lead.tick(now), now)
                return over + self._serve(event, now) + self._of_desk(self.desk.tick(now))
        return self._serve(event, now)

    @property
    def counters(self) -> Counters:
        return self.server.counters

    def pong(self, number: int, now: int) -> Pong:
        return self.server.pong(number, now)

    def held(self, still_open: Container[JobId] = ()) -> list[str]:
        return self.server.held(still_open)

    # -- the server node ----------------------------------------------------------------------------------------------

    def _serve(self, event: Event, now: int) -> list[Effect]:
        return self._sorted(self.server.handle(event, now), now)

    def _sorted(self, effects: list[Effect], now: int) -> list[Effect]:
        """What the server node asked for: some of it is for the crew, or for the leader."""
        out: list[Effect] = []
        for effect in effects:
            match effect:
                case Invoke():
                    out += self._to_run(effect, now)
                case Send() if effect.batch.header.leg == Leg.FROM_WORKER:
                    self.desk.answer(effect.batch, now)
                case Abandon():
                    out += self._abandon(effect, now)
                case Follow() if effect.server == self._name:
                    out += self._show_mates(now)
                case HangUp() if effect.peer in self.desk:
                    pass
                case Drained():
                    self._server_has_drained = True
                case _:
                    out.append(effect)
        return out

    def _to_run(self, invoke: Invoke, now: int) -> list[Effect]:
        if invoke.batch.header.target.function in BUILT_IN:
            self._aside.add(invoke.ticket)  # a leader's own business, and nobody's work
            return [invoke]
        if invoke.batch.header.leg:
            return [self._began(invoke, now)]
        assert self.lead is not None, "messages of clients are taken by a leader only"
        self.lead.take(invoke)
        return []

    def _abandon(self, effect: Abandon, now: int) -> list[Effect]:
        effects: list[Effect] = [effect]
        if self.lead is not None:
            effects += self._settle(self.lead.drop(effect.job), now)
        return effects

    def _settle(self, ended: Iterable[Finished], now: int) -> list[Effect]:
        return [effect for event in ended for effect in self._serve(event, now)]

    def _show_mates(self, now: int) -> list[Effect]:
        """Its own server is on a route that it passes messages along."""
        self._server_follows_own = True
        return [effect for mate in list(self._mates.values()) for effect in self._serve(InstanceUp(mate), now)]

    # -- running ------------------------------------------------------------------------------------------------------

    def _began(self, invoke: Invoke, now: int) -> Invoke:
        if not self._running:
            self.credit.began(now)
        self._running += len(invoke.batch)
        self.desk.runs = self._running
        return invoke

    def _finished(self, event: Finished, now: int) -> list[Effect]:
        if event.ticket in self._aside:
            self._aside.discard(event.ticket)
            return self._serve(event, now)
        self._running -= len(event.sequences)
        self.desk.runs = self._running
        self.credit.ended(len(event.sequences), now, idle=not self._running)
        if event.ticket >= 0:
            return self._serve(event, now)
        if self.lead is None:
            return []
        self.lead.want(self.credit.size)
        events, abandoned = self.lead.worked(event, now)
        effects = self._settle(events, now)
        for ticket, sequences in abandoned:
            effects += self._sorted(self.server.release(ticket, sequences, None, now), now)
        return effects

    def _hand_out(self, lead: Lead, now: int) -> list[Effect]:
        self.server.counters.stale += lead.stale
        lead.stale = 0
        effects, expired = lead.hand_out(now)
        for effect in effects:
            if isinstance(effect, Invoke):
                self._began(effect, now)
        return effects + self._settle(expired, now)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _received(self, event: Received, now: int) -> list[Effect]:
        batch = event.batch
        leg = batch.header.leg
        if leg == Leg.TO_WORKER:
            return self._handed(event.peer, batch, now)
        if leg == Leg.FROM_WORKER:
            return self._answered(event.peer, batch, now)
        known = self.server.counters.duplicates
        effects = self._serve(event, now)
        if self.lead is not None and self.server.counters.duplicates > known:
            effects += self.lead.repeat(*asked_again(batch, self.server.reduces), now)
        return effects

    def _handed(self, peer: Peer, batch: Batch, now: int) -> list[Effect]:
        """From a leader; refused where its term is over, whoever it thinks it is."""
        chief = self.desk.chief
        if self.lead is not None or chief is None or chief.peer != peer or not self.mandate.heard_of(batch.header.term):
            self.server.counters.stale += len(batch)
            return []
        return self._of_desk(self.desk.heard(peer, None, now)) + self._sorted(self.server.hand(batch, now), now)

    def _answered(self, worker: Peer, batch: Batch, now: int) -> list[Effect]:
        if self.lead is None or batch.header.term != self.lead.term:
            self.server.counters.stale += len(batch)
            return []
        self.lead.heard(worker, now)
        return self._settle(self.lead.answered(worker, spelled_out(batch), now), now)

    def _heard(self, event: Heard, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if self.lead is not None:
            self.lead.heard(event.peer, now)
            if isinstance(event.control, Pull) and event.control.term == self.lead.term and event.peer in self._mates:
                self.lead.wants(event.peer, event.control, now)
        if event.peer in self.desk:
            effects += self._of_desk(self.desk.heard(event.peer, event.control, now))
        return effects + self._serve(event, now)

    def _of_desk(self, effects: list[Effect]) -> list[Effect]:
        """A link that the server node has, too, stays."""
        server = self.server
        return [effect for effect in effects if not (isinstance(effect, HangUp) and server.has_dialed(effect.peer))]

    # -- roles --------------------------------------------------------------------------------------------------------

    def _elected(self, event: Elected, now: int) -> list[Effect]:
        if not self.mandate.take(event.term, event.until, now) or self.server.draining:
            return []
        if self.lead is not None and self.lead.term == event.term:
            return []
        effects = self._of_desk(self.desk.work_for(None, now))
        self.server.leads = True
        self.server.chief = None
        scatter = None if self._scatter is None else Scatter(self._scatter)
        expects = any(mate.peer != self.peer and not mate.draining for mate in self._mates.values())
        self.lead = Lead(self.peer, event.term, self.credit.size, now, scatter, expects=expects)
        return effects

    def _step_down(self, now: int) -> list[Effect]:
        """Act as a leader no more. What no worker has was not taken: who sent it is told so. Of the rest nothing is
        known here; who sent it will send it again."""
        lead, self.lead = self.lead, None
        self.mandate.lay_down()
        if lead is None:
            return []
        self.server.leads = False
        effects = self._release(lead, Status.BUSY, now)
        for ended in lead.give_up():
            # One that hands over says so of what its workers still run: the next leader asks them. What must not run
            # twice is left to its silence.
            status = Status.AWAY if self.server.draining and not ended.header.at_most_once else None
            effects += self._sorted(self.server.release(ended.ticket, ended.sequences, status, now), now)
        return effects + self._find_chief(now)

    def _release(self, lead: Lead, status: Status, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for ended in lead.give_back():
            effects += self._sorted(self.server.release(ended.ticket, ended.sequences, status, now), now)
        return effects

    def _drain(self, event: DrainAsked, now: int) -> list[Effect]:
        """A leader gives back what nobody has begun, so that the next one is not kept waiting."""
        effects = [] if self.lead is None else self._release(self.lead, Status.AWAY, now)
        return effects + self._of_desk(self.desk.leave()) + self._serve(event, now)

    def _stand(self) -> list[Effect]:
        """Say what it is, where that is new."""
        stands: tuple[Role, int] = ("worker", 0) if self.lead is None else (self.lead.role, self.lead.term)
        if stands == self._stood:
            return []
        self._stood = stands
        return [Stand(*stands)]

    def _mate_up(self, event: InstanceUp, now: int) -> list[Effect]:
        mate = event.instance
        is_new = mate.peer not in self._mates and not mate.draining
        self._mates[mate.peer] = mate
        effects: list[Effect] = []
        if mate.peer != self.peer:
            self.mandate.heard_of(mate.term)
            if self.lead is not None and not self.mandate.holds(now):
                effects += self._step_down(now)
            elif self.lead is not None and is_new:
                self.lead.expect(now)
            elif self.lead is None:
                effects += self._find_chief(now)
        return effects + (self._serve(event, now) if self._server_follows_own else [])

    def _mate_down(self, event: InstanceDown, now: int) -> list[Effect]:
        mate = self._mates.pop(event.peer, None)
        effects: list[Effect] = []
        if self.lead is not None:
            died = mate is None or not mate.draining
            effects += self._settle(self.lead.lost(event.peer, now, died=died, credit=self.credit.size), now)
        else:
            effects += self._find_chief(now)
        return effects + (self._serve(event, now) if self._server_follows_own else [])

    def _find_chief(self, now: int) -> list[Effect]:
        """Work for the one that leads by the latest election, as far as is known."""
        leaders = [mate for mate in self._mates.values() if mate.term and mate.peer != self.peer]
        chief = max(leaders, key=_term_of, default=None)
        if chief is not None and chief.term < self.mandate.latest:
            chief = None
        self.server.chief = None if chief is None else chief.peer
        return self._of_desk(self.desk.work_for(chief, now))


def _term_of(instance: Instance) -> int:
    return instance.term
