"""The leader of a server's store: which copies count, when a write is safe, and what its callers hear.

A write is answered once every copy that counts has it; a silent one is first struck off the registry's record, by a
transaction that only the leader of this term can make. So whoever leads next finds every answered write in any copy on
the record, and whoever led before can answer nothing (PacificA; Lin et al., 2008; Kafka: in-sync replicas). Reads are
answered from this copy, behind the writes that came before them; whether the leader may still answer at all is its
owner's business (`palm.core.election.Mandate`). Links are dialed once the store is used.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Mapping, NamedTuple

from palm.core.effect import Effect, Enlist, HangUp, LookUp, Remark
from palm.core.links import Link, Links
from palm.core.message import Control, Header, Instance, JobId, Peer, Status
from palm.core.replica import Answer, Append, Ask, Copy, Fetch, Image, State, Word, batch_of, pieces
from palm.core.store import (
    WRITES,
    Code,
    Entry,
    Member,
    Op,
    Position,
    Reply,
    Request,
    Row,
    Store,
    StoreRecord,
    objection,
)

COPIES = 3
"""How many instances hold the store, where there are as many."""

AGAIN = 1_000_000_000
"""A word to another copy that was not answered is said again after this long (ns)."""

LOST = 3_000_000_000
"""A copy that has not answered for this long does not count any more."""

GRACE = 10_000_000_000
"""How long all copies must be gone from the registry before a store in memory begins anew (ns)."""

HOLD = 2_000_000_000
"""A request that cannot be served, and a watch without changes, is answered after this long (ns)."""

MOST_WAITING = 4_096

_NEVER = 1 << 62


class Asked(NamedTuple):
    """A request of a client, with what is needed to answer it."""

    header: Header
    sequence: int
    floor: int
    request: Request
    since: int


class Said(NamedTuple):
    """What a client is to hear; `reply` None: `status` instead."""

    asked: Asked
    reply: Reply | None
    status: int = Status.OK


class ToCopy(NamedTuple):
    """A word for another copy, and the number that its answer will name."""

    peer: Peer
    number: int
    word: Word


@dataclass(slots=True)
class Mate:
    """Another instance whose copy this leader has to do with."""

    link: Link
    state: State | None = None
    number: int = 0
    sent_at: int | None = None
    """When a word was said that has no answer yet."""
    answered_at: int = 0
    rests_until: int = 0
    """Its disk refused: it is left alone for a while."""
    image: list[tuple[Row, ...]] = field(default_factory=list)
    at: int = 0


class Keeper:
    """For one term. Its owner calls `advance` after everything else, and takes `said` and `words` from it."""

    def __init__(
        self, copy: Copy, *, me: Instance, cluster: str, key: str, term: int, first_number: int = 1, now: int
    ) -> None:
        self.copy = copy
        self.term = term
        self.said: list[Said] = []
        self.words: list[ToCopy] = []
        self.links = Links(cluster=cluster, name=me.server)
        self.is_serving = False
        self.record: StoreRecord | None = None
        self._me = Member(copy.name, copy.durable, me.peer, me.host)
        self._server = me.server
        self._key = key
        self._revision = 0
        self._found = False
        self._looking = False
        self._proposal: StoreRecord | None = None
        # Records whose writing has no known end: until it is known, their copies count too.
        self._maybe: list[StoreRecord] = []
        self._has_data = False
        self._mates: dict[Peer, Mate] = {}
        self._by_copy: dict[str, Mate] = {}
        self._began = now
        self.number = first_number
        self._alone_since: int | None = None
        self._source: Peer | None = None
        self._pieces = 0
        self._target = Position()
        self._safe = 0
        self._waiting: deque[Asked] = deque()
        self._deferred: deque[tuple[int, Asked, Reply]] = deque()
        self._watches: list[Asked] = []
        self._refused: dict[tuple[JobId, int], Reply] = {}
        self._look_at = now
        self._reason = "its leader was elected just now"

    # -- what its owner tells it --------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """There is a store to keep: somebody has used it, or the registry says so."""
        return not self._found or self.record is not None or bool(self._waiting) or self._has_data

    @property
    def wants_mates(self) -> bool:
        return self._found and self.is_active

    @property
    def deadline(self) -> int | None:
        if not self.is_active:
            return None
        return min(self._look_at, self.links.deadline or _NEVER)

    def ask(self, asked: Asked) -> None:
        """A client's request. Its answer comes by `said`."""
        wrong = objection(asked.request)
        if wrong:
            self.said.append(Said(asked, Reply(Code.REFUSED, wrong)))
        elif len(self._waiting) + len(self._deferred) + len(self._watches) >= MOST_WAITING:
            self.said.append(Said(asked, None, Status.BUSY))
        elif self.is_serving:
            self._serve(asked)
        else:
            self._waiting.append(asked)

    def found(self, record: StoreRecord | None, revision: int) -> None:
        if revision != self._revision:
            self._maybe.clear()  # whatever was to follow the old revision has, or never will
        self.record, self._revision = record, revision
        self._found, self._looking = True, False

    def enlisted(self, term: int, revision: int | None) -> None:
        proposal, self._proposal = self._proposal, None
        if proposal is None or term != self.term:
            return
        if revision is None:
            self._maybe.append(proposal)
            self._found = False
            return
        self._maybe.clear()
        self.record, self._revision = proposal, revision

    def heard(self, peer: Peer, control: Control, now: int) -> list[Effect]:
        self.links.heard(peer, now)
        return self.links.told(peer, control)

    def answered(self, peer: Peer, number: int, answer: Answer, now: int) -> None:
        """Another copy's answer to a word; one to an earlier word says nothing any more."""
        mate = self._mates.get(peer)
        if mate is None or mate.number != number or mate.sent_at is None:
            return
        mate.sent_at, mate.answered_at = None, now
        self.links.heard(peer, now)
        if isinstance(answer, State):
            mate.state = answer
            self._by_copy[answer.copy] = mate
            if answer.error:
                mate.rests_until = now + LOST
            if mate.image:
                mate.at += 1
                if mate.at == len(mate.image):
                    mate.image, mate.at = [], 0
        elif peer == self._source and answer.number == self._pieces:
            self._pieces += 1
            whole = self.copy.assemble(answer)
            if whole is not None:
                self.copy.replace(whole)
                self._source, self._has_data = None, True
                self._target = self.copy.store.position

    def bounced(self, peer: Peer) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.suspected = True

    def refused(self, error: str) -> None:
        """The disk refused what was written last, and it was taken back: whoever waits for it hears so."""
        text = f"the store of {self._server!r} cannot be written to disk: {error}"
        kept = self.copy.store.version
        waiting, self._deferred = self._deferred, deque()
        for version, asked, reply in waiting:
            if version <= kept:
                self._deferred.append((version, asked, reply))
            elif asked.request.op in WRITES:
                self.said.append(Said(asked, self._refuse(asked, text)))
            else:
                self._serve(asked)

    def close(self) -> tuple[list[Asked], list[Effect]]:
        """It leads no more: who waits for an answer here, and links to let go of."""
        left = [*self._waiting, *(asked for _, asked, _ in self._deferred), *self._watches]
        return left, [HangUp(peer) for peer in self._mates]

    def mates_are(self, mates: Mapping[Peer, Instance], now: int) -> list[Effect]:
        """The other instances of this server, as the registry shows them. Links to those that matter."""
        if not self.is_active:
            return []
        wanted = self._wanted(mates)
        effects: list[Effect] = []
        for peer in [peer for peer in self._mates if peer not in wanted]:
            self._forget(peer)
            effects += self.links.remove(peer, self._server)
        for peer in wanted:
            if peer not in self._mates:
                effects += self.links.add(mates[peer], now)
                link = self.links.get(peer)
                assert link is not None, "it was dialed just now"
                self._mates[peer] = Mate(link, answered_at=now)
        return effects

    def _wanted(self, mates: Mapping[Peer, Instance]) -> list[Peer]:
        """Whose copies are on the record, and others up to `COPIES`; all, while the data are sought."""
        if not self._has_data:
            return list(mates) if self.record is not None else []
        counted = {member.peer for member in self.record.members} if self.record is not None else set()
        ranks = []
        for peer, mate in mates.items():
            linked = self._mates.get(peer)
            suspected = linked is not None and linked.link.suspected
            ranks.append((peer not in counted, mate.draining or suspected, linked is None, mate.started_ms, peer))
        ranks.sort()
        most = max(COPIES - 1, sum(not rank[0] for rank in ranks))
        return [rank[-1] for rank in ranks[:most]]

    def _forget(self, peer: Peer) -> None:
        mate = self._mates.pop(peer)
        if mate.state is not None and self._by_copy.get(mate.state.copy) is mate:
            del self._by_copy[mate.state.copy]
        if self._source == peer:
            self._source = None

    # -- what it does about it ----------------------------------------------------------------------------------------

    def advance(self, mates: Mapping[Peer, Instance], listed: bool, now: int) -> list[Effect]:
        """One step. `listed`: `mates` is all there are."""
        if not self.is_active:
            return []
        effects: list[Effect] = []
        if now >= self._look_at:
            self._look_at = now + HOLD // 4
            self._turn_away(now)
        effects += self.links.tick(now)
        if not self._found:
            if not self._looking:
                self._looking = True
                effects.append(LookUp())
            return effects
        if not self._has_data:
            effects += self._find_data(mates, listed, now)
        if self._has_data:
            effects += self._elect_copies(mates, listed, now)
            self._settle()
        for peer, mate in self._mates.items():
            self._say_to(peer, mate, now)
        return effects

    def _find_data(self, mates: Mapping[Peer, Instance], listed: bool, now: int) -> list[Effect]:
        record = self.record
        if record is None:
            self._begin(self.copy.store.epoch or self.term)
            return []
        if record.closed:
            self._begin(self.term)
            return [Remark(f"the store of {self._server!r} begins empty: it was in memory, and its last server ended")]
        if any(member.copy == self.copy.name for member in record.members):
            self._has_data = True
            self._target = self.copy.store.position
            return []
        if self._source is not None and not self._mates[self._source].link.suspected:
            return []
        self._source = None
        for member in record.members:
            mate = self._by_copy.get(member.copy)
            if mate is not None and not mate.link.suspected:
                self._source, self._pieces = mate.link.instance.peer, 0
                self._reason = f"its leader copies it from {member.peer} on {member.host}"
                return []
        return self._miss_data(record, mates, listed, now)

    def _miss_data(
        self, record: StoreRecord, mates: Mapping[Peer, Instance], listed: bool, now: int
    ) -> list[Effect]:
        """No copy that counts can be reached."""
        there = any(member.durable or member.peer in mates for member in record.members)
        if there or not listed:
            self._alone_since = None
            names = ", ".join(f"{_form_of(member)} of {member.peer} on {member.host}" for member in record.members)
            self._reason = (
                f"it waits for one of the copies that have all of it: {names} (start or reconnect one; where they are "
                f"lost for good, delete the registry's key of this store, {self._key}, and what they hold with it)"
            )
            return []
        if self._alone_since is None:
            self._alone_since = now
            self._reason = "all copies of it in memory are gone; it begins anew unless one comes back in a moment"
        if now - self._alone_since < GRACE:
            return []
        self._begin(self.term)
        gone = ", ".join(f"{member.peer} on {member.host}" for member in record.members)
        return [Remark(f"the store of {self._server!r} begins empty: every copy of it is gone ({gone})")]

    def _begin(self, epoch: int) -> None:
        """With what this copy holds of that epoch: nothing, where it is a new one."""
        if self.copy.store.epoch != epoch:
            self.copy.replace(Store.anew(epoch))
        self._has_data = True
        self._target = self.copy.store.position

    def _elect_copies(self, mates: Mapping[Peer, Instance], listed: bool, now: int) -> list[Effect]:
        """Strike off who is lost, take on who has everything."""
        if self._proposal is not None or not (self.copy.is_kept or self.is_serving):
            return []
        record = self.record
        epoch = self.copy.store.epoch
        members = () if record is None or record.epoch != epoch else record.members
        stay = [member for member in members if not self._is_lost(member, mates, listed, now)]
        if all(member.copy != self._me.copy for member in stay):
            stay.append(self._me)
        for peer, mate in self._mates.items():
            state = mate.state
            if state is None or mate.link.suspected or state.error or len(stay) >= COPIES:
                continue
            # Whatever was answered is there; from now on nothing is answered before it is there too.
            has_all = self._version_of(state) >= max(self._safe, self._target.version)
            if has_all and all(member.copy != state.copy for member in stay):
                stay.append(Member(state.copy, state.durable, peer, mate.link.instance.host))
        # A copy on a disk is found at another address after a restart.
        wanted = StoreRecord(epoch, tuple(map(self._placed, stay)))
        if wanted == record and not self._maybe:
            return []
        self._proposal = wanted
        return [Enlist(self.term, wanted, self._revision)]

    def _placed(self, member: Member) -> Member:
        if member.copy == self._me.copy:
            return self._me
        mate = self._by_copy.get(member.copy)
        if mate is None:
            return member
        return member._replace(peer=mate.link.instance.peer, host=mate.link.instance.host)

    def _is_lost(self, member: Member, mates: Mapping[Peer, Instance], listed: bool, now: int) -> bool:
        if member.copy == self._me.copy:
            return False
        mate = self._by_copy.get(member.copy)
        if mate is None:
            gone = not member.durable and member.peer not in mates
            return listed and (gone or now - self._began >= LOST)
        late = mate.sent_at is not None and now - mate.answered_at >= LOST
        return mate.link.suspected or late or (mate.state is not None and mate.state.error != "")

    # -- copies -------------------------------------------------------------------------------------------------------

    def _say_to(self, peer: Peer, mate: Mate, now: int) -> None:
        """The next word for that copy, if there is one, or the last one once more."""
        if mate.sent_at is not None and now - mate.sent_at < AGAIN:
            return
        word = self._next_word(peer, mate, now)
        if word is None:
            mate.sent_at, mate.answered_at = None, now
            return
        if mate.sent_at is None:
            mate.answered_at = now
        self.number += 1
        mate.number, mate.sent_at = self.number, now
        self.words.append(ToCopy(peer, self.number, word))

    def _next_word(self, peer: Peer, mate: Mate, now: int) -> Word | None:
        state, store = mate.state, self.copy.store
        if state is None or state.term != self.term:
            return Ask(self.term)
        if peer == self._source:
            return Fetch(self.term, self._pieces)
        if not self._has_data or now < mate.rests_until:
            return None
        kept = self.copy.kept
        if state.position == kept and state.epoch == store.epoch:
            mate.image, mate.at = [], 0
            return None
        entries = store.since(state.position) if state.epoch == store.epoch else None
        if entries is not None and not mate.image:
            # Only what is safe here: what a disk may still refuse is nobody else's business.
            entries = [entry for entry in entries if entry.position.version <= kept.version]
            return Append(self.term, state.position, batch_of(entries)) if entries else None
        if not mate.image:
            mate.image, mate.at = pieces(store) if self.copy.is_kept else [], 0
            if not mate.image:
                return None
        return Image(self.term, mate.at, mate.at == len(mate.image) - 1, mate.image[mate.at])

    # -- clients ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """See how far every copy that counts is, and answer what is safe."""
        self._safe = self._all_have()
        record = self.record
        counts = record is not None and any(member.copy == self._me.copy for member in record.members)
        if not self.is_serving:
            same = record is not None and record.epoch == self.copy.store.epoch
            if not (counts and same and self._safe >= self._target.version):
                self._reason = "its copies are made equal"
                return
            self.is_serving = True
            waiting, self._waiting = self._waiting, deque()
            for asked in waiting:
                self._serve(asked)
            self._safe = self._all_have()
        while self._deferred and self._deferred[0][0] <= self._safe:
            _, asked, reply = self._deferred.popleft()
            self.said.append(Said(asked, reply))
        self._wake_watches()

    def _all_have(self) -> int:
        """The last version that every copy on the record, and on one that is being written, has."""
        safe = self.copy.kept.version
        for record in (self.record, self._proposal, *self._maybe):
            for member in () if record is None else record.members:
                if member.copy != self._me.copy:
                    mate = self._by_copy.get(member.copy)
                    safe = min(safe, -1 if mate is None else self._version_of(mate.state))
        return max(safe, self._safe)

    def _version_of(self, state: State | None) -> int:
        """How far that copy is known to be on the way of this one; -1 where it is not."""
        if state is None or state.term != self.term or state.epoch != self.copy.store.epoch:
            return -1
        return state.position.version if self.copy.store.holds(state.position) else -1

    def _serve(self, asked: Asked) -> None:
        request, store = asked.request, self.copy.store
        if request.op not in WRITES:
            reply = store.read(request)
            if request.op == Op.WATCH and request.epoch and reply.code == Code.OK and not reply.changes:
                self._watches.append(asked)
            else:
                self._deferred.append((store.version, asked, reply))
            return
        refused = self._refused.get((asked.header.job, asked.sequence))
        before = refused or store.answered(asked.header.job, asked.sequence)
        if before == "through":
            return  # its caller waits for no answer any more
        if before is not None:
            self._deferred.append((store.version, asked, before))
            return
        wrong = store.refusal(request)
        if wrong:
            self._deferred.append((store.version, asked, self._refuse(asked, wrong)))
            return
        position = Position(self.term, store.version + 1)
        reply = self.copy.apply(Entry(position, request, asked.header.job, asked.sequence, asked.floor))
        self._deferred.append((position.version, asked, reply))

    def _refuse(self, asked: Asked, text: str) -> Reply:
        """For good: a copy of the message that comes later hears the same."""
        reply = Reply(Code.REFUSED, text)
        self._refused[asked.header.job, asked.sequence] = reply
        if len(self._refused) > MOST_WAITING:
            del self._refused[next(iter(self._refused))]
        return reply

    def _wake_watches(self) -> None:
        store = self.copy.store
        watches, self._watches = self._watches, []
        for asked in watches:
            if store.version > asked.request.after and store.concerned(asked.request.key, asked.request.after):
                self._deferred.append((store.version, asked, store.read(asked.request)))
            else:
                self._watches.append(asked)

    def _turn_away(self, now: int) -> None:
        """Nobody waits long without a word; who wants to waits on."""
        text = f"the store of {self._server!r} cannot serve now: {self._reason}"
        while self._waiting and now - self._waiting[0].since >= HOLD:
            asked = self._waiting.popleft()
            # A copy of a write may be on its way still: what its caller hears must not be that nothing was done.
            writes = asked.request.op in WRITES
            self.said.append(Said(asked, None, Status.BUSY) if writes else Said(asked, Reply(Code.WAITING, text)))
        late = [asked for asked in self._watches if now - asked.since >= HOLD]
        self._watches = [asked for asked in self._watches if now - asked.since < HOLD]
        for asked in late:
            # Up to here there was nothing for it, as far as this is safe.
            version = min(self._safe, self.copy.store.version)
            self.said.append(
                Said(asked, Reply(version=max(version, asked.request.after), epoch=self.copy.store.epoch))
            )


def _form_of(member: Member) -> str:
    return "the copy on disk" if member.durable else "the copy in memory"

