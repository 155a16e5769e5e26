"""The node of an instance that has a store: whatever its server's node is, and beside it one copy of the store.

Messages to the store's two functions are taken here, all others go on to the server's node. The instance that leads
keeps the store (`palm.core.keeper`); the others hold copies for it, once it asks them to (`palm.core.replica`). An
instance that nobody asked for anything costs an election and no more.
"""

from __future__ import annotations

from typing import Protocol

from palm.core.effect import Dial, Effect, Follow, HangUp, Send, Stand
from palm.core.election import Mandate
from palm.core.event import (
    Bounced,
    Deposed,
    Elected,
    Enlisted,
    Event,
    Finished,
    Found,
    Heard,
    InstanceDown,
    InstanceUp,
    Listed,
    Persisted,
    Received,
)
from palm.core.keeper import Asked, Keeper, Said
from palm.core.message import Batch, Failure, Header, Instance, JobId, Payload, Peer, Status
from palm.core.node import Node
from palm.core.replica import FUNCTION as COPY
from palm.core.replica import Answer, Append, Ask, Copy, Fetch, Image, State, Word
from palm.core.route import Stage
from palm.core.store import FUNCTION as STORE
from palm.core.store import Reply, Request, StoreRecord
from palm.errors import BadFrame


class Words(Protocol):
    """What requests, replies and words between copies look like as payloads (`palm.wire.store`). Readers raise
    BadFrame."""

    def read_request(self, payload: bytes) -> Request: ...
    def write_reply(self, reply: Reply) -> bytes: ...
    def read_word(self, payload: bytes) -> Word: ...
    def write_word(self, word: Word) -> bytes: ...
    def read_answer(self, payload: bytes) -> Answer: ...
    def write_answer(self, answer: Answer) -> bytes: ...


class StoreNode:
    """`me` is this instance as it began; `follows_own`: the server's node follows the server's own name; `stands`: it
    says itself what it is in the registry."""

    def __init__(
        self,
        inner: Node,
        copy: Copy,
        words: Words,
        *,
        me: Instance,
        cluster: str,
        key: str,
        follows_own: bool = False,
        stands: bool = False,
    ) -> None:
        self.inner = inner
        self.copy = copy
        self.keeper: Keeper | None = None
        self.mandate = Mandate()
        self.stale = 0
        self._words = words
        self._me = me
        self._cluster = cluster
        self._key = key
        self._follows_own = follows_own
        self._stands = stands
        self._route = (Stage(me.server, COPY),)
        self._mates: dict[Peer, Instance] = {}
        self._asked_for_mates = follows_own
        self._listed = False
        self._next_number = 1
        self._inner_dialed: dict[Peer, None] = {}
        # Leaders' words that are answered once the disk has what they said.
        self._owed: list[tuple[Peer, Header, int, int]] = []

    # -- the Node protocol --------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        inner = self.inner.deadline
        if self.keeper is None:
            return inner
        due = [self.mandate.until, *(one for one in (inner, self.keeper.deadline) if one is not None)]
        return min(due)

    def handle(self, event: Event, now: int) -> list[Effect]:
        if isinstance(event, Finished) or (isinstance(event, Received) and not self._is_mine(event.batch.header)):
            return self._of_inner(self.inner.handle(event, now), now)  # the common case, and no business of the store
        effects: list[Effect] = []
        if self.keeper is not None and not self.mandate.holds(now):
            effects += self._step_down()
        effects += self._react(event, now)
        if self.keeper is not None:
            effects += self._keep(self.keeper, now)
        effects += self.copy.write()
        if self._owed and self.copy.is_kept:
            effects += self._pay()
        return effects

    def _react(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Received() if self._is_mine(event.batch.header):
                return self._received(event.peer, event.batch, now)
            case Bounced() if self._is_mine(event.batch.header):
                if self.keeper is not None:
                    self.keeper.bounced(event.peer)
                return []
            case Heard():
                effects = [] if self.keeper is None else self.keeper.heard(event.peer, event.control, now)
                return effects + self._of_inner(self.inner.handle(event, now), now)
            case Found():
                if self.keeper is not None:
                    self.keeper.found(event.record, event.revision)
                return []
            case Enlisted():
                if self.keeper is not None:
                    self.keeper.enlisted(event.term, event.revision)
                return []
            case Persisted():
                if not self.copy.written(event.ticket, event.error) and self.keeper is not None:
                    self.keeper.refused(event.error)
                return []
            case InstanceUp() if event.instance.server == self._me.server:
                return self._mate_up(event, now)
            case InstanceDown() if event.server == self._me.server:
                self._mates.pop(event.peer, None)
                return self._pass_on(event, now)
            case Listed() if event.server == self._me.server:
                self._listed = True
                return self._pass_on(event, now)
            case Elected():
                return self._elected(event, now) + self._of_inner(self.inner.handle(event, now), now)
            case Deposed():
                return self._step_down() + self._of_inner(self.inner.handle(event, now), now)
        return self._of_inner(self.inner.handle(event, now), now)

    def last_copy(self) -> StoreRecord | None:
        """What the record should say when this instance ends now: that its data end with it. None: they do not."""
        keeper = self.keeper
        if keeper is None or keeper.record is None or self.copy.durable:
            return None
        alone = [member.copy for member in keeper.record.members] == [self.copy.name]
        return StoreRecord(keeper.record.epoch, (), closed=True) if alone else None

    # -- the server's node --------------------------------------------------------------------------------------------

    def _of_inner(self, effects: list[Effect], now: int) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            match effect:
                case Follow() if effect.server == self._me.server and not self._follows_own:
                    self._follows_own = True
                    out += self._follow()
                    for mate in list(self._mates.values()):
                        out += self._of_inner(self.inner.handle(InstanceUp(mate), now), now)
                    if self._listed:
                        out += self._of_inner(self.inner.handle(Listed(self._me.server), now), now)
                case Dial():
                    self._inner_dialed[effect.peer] = None
                    out.append(effect)
                case HangUp():
                    self._inner_dialed.pop(effect.peer, None)
                    if self.keeper is None or effect.peer not in self.keeper.links:
                        out.append(effect)
                case _:
                    out.append(effect)
        return out

    def _pass_on(self, event: Event, now: int) -> list[Effect]:
        return self._of_inner(self.inner.handle(event, now), now) if self._follows_own else []

    def _mate_up(self, event: InstanceUp, now: int) -> list[Effect]:
        mate = event.instance
        self._mates[mate.peer] = mate
        if mate.peer != self._me.peer:
            self._hear_of(mate.term)
        effects: list[Effect] = []
        if self.keeper is not None and not self.mandate.holds(now):
            effects += self._step_down()
        return effects + self._pass_on(event, now)

    def _follow(self) -> list[Effect]:
        if self._asked_for_mates:
            return []
        self._asked_for_mates = True
        return [Follow(self._me.server)]

    # -- leading ------------------------------------------------------------------------------------------------------

    def _hear_of(self, term: int) -> bool:
        return self.mandate.heard_of(term)

    def _elected(self, event: Elected, now: int) -> list[Effect]:
        if not self.mandate.take(event.term, event.until, now):
            return []
        if self.keeper is not None and self.keeper.term == event.term:
            return []
        effects = self._step_down(lay_down=False)
        self.keeper = Keeper(
            self.copy,
            me=self._me,
            cluster=self._cluster,
            key=self._key,
            term=event.term,
            first_number=self._next_number,
            now=now,
        )
        return effects + ([] if self._stands else [Stand("keeper", event.term)])

    def _step_down(self, *, lay_down: bool = True) -> list[Effect]:
        """Keep the store no more. Who waits is told to ask again: whoever leads next knows what was done."""
        keeper, self.keeper = self.keeper, None
        if lay_down:
            self.mandate.lay_down()
        if keeper is None:
            return []
        self._next_number = keeper.number + 1
        left, hang_ups = keeper.close()
        effects = self._of_keeper(hang_ups)
        effects += [self._tell(Said(asked, None, Status.BUSY)) for asked in left]
        return effects + ([] if self._stands else [Stand("", 0)])

    def _keep(self, keeper: Keeper, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if keeper.wants_mates:
            effects += self._follow()
        mates = {peer: mate for peer, mate in self._mates.items() if peer != self._me.peer}
        effects += self._of_keeper(keeper.mates_are(mates, now))
        effects += keeper.advance(mates, self._listed, now)
        said, keeper.said = keeper.said, []
        effects += [self._tell(one) for one in said]
        words, keeper.words = keeper.words, []
        for to in words:
            job = JobId(self._me.peer, keeper.term, 0)
            payload = self._words.write_word(to.word)
            effects.append(Send(to.peer, Batch(Header(job, self._route, 0), 0, [to.number], [payload])))
        return effects

    def _of_keeper(self, effects: list[Effect]) -> list[Effect]:
        """A link that the server's node has, too, stays."""
        return [one for one in effects if not (isinstance(one, HangUp) and one.peer in self._inner_dialed)]

    def _tell(self, said: Said) -> Send:
        asked = said.asked
        header = asked.header.at(len(asked.header.route))
        payload: Payload = b"" if said.reply is None else self._words.write_reply(said.reply)
        statuses = None if said.status == Status.OK else [int(said.status)]
        return Send(asked.header.job.client, Batch(header, 0, [asked.sequence], [payload], None, None, statuses))

    # -- messages -----------------------------------------------------------------------------------------------------

    def _is_mine(self, header: Header) -> bool:
        first = header.route[0]
        if header.is_result:
            return first.function == COPY and header.job.client == self._me.peer
        return header.target.function in (STORE, COPY) and header.target.server == self._me.server

    def _received(self, peer: Peer, batch: Batch, now: int) -> list[Effect]:
        header = batch.header
        if header.is_result:
            return self._answered(peer, batch, now)
        if header.target.function == COPY:
            return [effect for i in range(len(batch)) for effect in self._told(peer, batch, i)]
        if len(header.route) != 1 or header.parts or peer != header.job.client:
            return self._refuse(batch, "a store is asked by a client, and alone: it is no stage of a route")
        if self.keeper is None:
            return self._turn_away(batch)
        for place, sequence in enumerate(batch.sequences):
            payload = batch.payloads[place]
            try:
                request = self._words.read_request(payload if isinstance(payload, bytes) else b"")
            except BadFrame as error:
                return self._refuse(batch, str(error))
            self.keeper.ask(Asked(header, sequence, batch.watermark, request, now))
        return []

    def _turn_away(self, batch: Batch) -> list[Effect]:
        """Who keeps the store will be known soon, and it may be this one."""
        count = len(batch)
        return [
            Send(
                batch.header.job.client,
                Batch(batch.header.at(1), 0, batch.sequences, [b""] * count, None, None, [Status.BUSY] * count),
            )
        ]

    def _refuse(self, batch: Batch, why: str) -> list[Effect]:
        header, count = batch.header, len(batch)
        failure: Payload = Failure("BAD_REQUEST", "BadRequest", why, "", self._me.server, STORE, self._me.peer)
        onward = header.at(len(header.route))
        statuses: list[int] = [Status.FAILED] * count
        return [Send(header.job.client, Batch(onward, 0, batch.sequences, [failure] * count, None, None, statuses))]

    # -- copies -------------------------------------------------------------------------------------------------------

    def _told(self, peer: Peer, batch: Batch, place: int) -> list[Effect]:
        """A leader's word. That of an old one is answered with the term that it should know of."""
        payload = batch.payloads[place]
        try:
            word = self._words.read_word(payload if isinstance(payload, bytes) else b"")
        except BadFrame:
            self.stale += 1
            return []
        effects: list[Effect] = []
        header, sequence = batch.header, batch.sequences[place]
        if not self._hear_of(word.term):
            self.stale += 1
            state = self.copy.state(self.mandate.latest)
            return [self._answer(peer, header, sequence, state)]
        if self.keeper is not None and self.keeper.term < word.term:
            effects += self._step_down()
        match word:
            case Fetch():
                return [*effects, self._answer(peer, header, sequence, self.copy.piece(word.term, word.number))]
            case Append() | Image():
                self.copy.follow(word)
            case Ask():
                pass
        self._owed.append((peer, header, sequence, word.term))
        return effects

    def _pay(self) -> list[Effect]:
        owed, self._owed = self._owed, []
        return [
            self._answer(peer, header, sequence, self.copy.state(self.mandate.latest))
            for peer, header, sequence, _ in owed
        ]

    def _answer(self, peer: Peer, header: Header, sequence: int, answer: Answer) -> Send:
        return Send(peer, Batch(header.at(1), 0, [sequence], [self._words.write_answer(answer)]))

    def _answered(self, peer: Peer, batch: Batch, now: int) -> list[Effect]:
        keeper = self.keeper
        if keeper is None or batch.header.job.incarnation != keeper.term:
            self.stale += len(batch)
            return []
        for sequence, payload in zip(batch.sequences, batch.payloads, strict=True):
            try:
                answer = self._words.read_answer(payload if isinstance(payload, bytes) else b"")
            except BadFrame:
                self.stale += 1
                continue
            if isinstance(answer, State) and not self._hear_of(answer.term):
                continue
            if answer.term > keeper.term:
                return self._step_down()
            keeper.answered(peer, sequence, answer, now)
        return []
