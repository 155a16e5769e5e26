"""Who of a leader's crew gets which message: a queue, what each worker has and may have, and what becomes of the lost.

Workers say how much they want (`palm.core.credit`); nobody is ever given more. What they say comes of what they ran
of late, and a slow function may follow a quick one: so of each function a worker has as much as it wanted at first,
and one more for each message that came back (slow start, as in TCP; Jacobson, 1988). When little is left it is shared
by halves, so that all end at about the same time (guided self-scheduling; Polychronopoulos and Kuck, 1987). A message
that was with a worker when it died goes to another one, and to one that has nothing else: so a message that kills is
found out, and takes no other with it. This file knows no links, no clock and no terms.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Iterable, NamedTuple, Sequence

from palm.core.message import Batch, Header, JobId, Payload, Peer, Task
from palm.core.route import Stage

MAX_DEATHS = 3
"""Workers that died with a message before it is given up: it may well be what killed them."""

GOES_ON = (Task.PART, Task.GATHER)
"""Tasks of a message that was begun."""


Kind = tuple[Stage, int]
"""What is run: the function, and which task of it."""


class Piece:
    """A run of messages of one admission (`ticket`): queued while `worker` is None, else with that worker."""

    __slots__ = (
        "ticket",
        "header",
        "kind",
        "watermark",
        "sequences",
        "payloads",
        "attempts",
        "expires",
        "worker",
        "left",
        "since",
        "wanted",
    )

    def __init__(self, ticket: int, batch: Batch, expires: int | None) -> None:
        self.ticket = ticket
        self.header = batch.header
        self.kind: Kind = (batch.header.target, batch.header.task)
        self.watermark = batch.watermark
        self.sequences: Sequence[int] = batch.sequences
        self.payloads: Sequence[Payload] = batch.payloads
        self.attempts: Sequence[int] | None = batch.attempts
        self.expires = expires
        self.worker: Peer | None = None
        self.left = len(batch)
        self.since = 0
        self.wanted = True
        """False: nobody waits for it any more; it only counts as its worker's until that says otherwise."""

    def part(self, indices: Sequence[int]) -> Piece:
        """Those messages as a piece of their own, with nobody."""
        piece = Piece.__new__(Piece)
        piece.ticket, piece.header, piece.kind, piece.watermark = self.ticket, self.header, self.kind, self.watermark
        piece.sequences = [self.sequences[i] for i in indices]
        piece.payloads = [self.payloads[i] for i in indices]
        piece.attempts = None if self.attempts is None else [self.attempts[i] for i in indices]
        piece.expires, piece.worker, piece.left, piece.since = self.expires, None, len(indices), 0
        piece.wanted = True
        return piece

    def batch(self, now: int) -> Batch:
        """As it travels to its worker, under the client's header."""
        return Batch(
            self.header,
            self.watermark,
            list(self.sequences),
            list(self.payloads),
            None if self.expires is None else max(0, self.expires - now),
            None if self.attempts is None else list(self.attempts),
        )


@dataclass(slots=True)
class Pace:
    """What a worker has of one kind, and how much of it it may have."""

    most: int
    has: int = 0


@dataclass(slots=True)
class Worker:
    """`credit` messages at most; `paused` while it is suspected to be gone: it keeps what it has and gets nothing."""

    credit: int = 0
    first: int = 0
    """The first credit that it asked for: all that is sure of a function that it has not run."""
    has: int = 0
    paces: dict[Kind, Pace] = field(default_factory=dict)
    paused: bool = False
    takes_suspects: bool = True
    alone: bool = False
    """What it has is a suspect: it gets nothing beside it."""
    pieces: dict[Piece, None] = field(default_factory=dict)

    def wants(self, credit: int) -> None:
        self.credit = credit
        self.first = self.first or credit
        for pace in self.paces.values():
            if pace.has:  # it speaks of what it runs
                pace.most = max(self.first, min(pace.most, credit))

    def room(self, kind: Kind) -> int:
        """How many more of that kind it may have. In halves, as of a credit."""
        pace = self.paces.get(kind)
        if pace is None:
            pace = self.paces[kind] = Pace(self.first)
        return pace.most - pace.has if 2 * pace.has <= pace.most else 0

    def took(self, piece: Piece) -> None:
        self.has += piece.left
        pace = self.paces.get(piece.kind)
        if pace is None:
            pace = self.paces[piece.kind] = Pace(self.first)
        pace.has += piece.left
        self.pieces[piece] = None

    def has_not(self, kind: Kind, count: int) -> None:
        """So many of them are with it no more."""
        self.has -= count
        self.paces[kind].has -= count

    def ran(self, kind: Kind, count: int) -> None:
        self.has_not(kind, count)
        pace = self.paces[kind]
        pace.most = min(pace.most + count, max(self.credit, self.first))


class Ended(NamedTuple):
    """Messages of one admission that are over for the crew."""

    ticket: int
    header: Header
    sequences: list[int]


class Given(NamedTuple):
    """A piece that `worker` is to run from now on."""

    worker: Peer
    piece: Piece


class Lost(NamedTuple):
    """What is over because a worker was lost: what killed too often, and what must not run twice."""

    dead: list[tuple[Ended, list[Peer]]]
    unknown: list[Ended]


class Dispatch:
    def __init__(self) -> None:
        self.workers: dict[Peer, Worker] = {}
        self.queued = 0
        self._queue: deque[Piece] = deque()
        # What goes on with a message that was begun goes before what begins another one: so few are open at one time.
        self._ahead: deque[Piece] = deque()
        # One message each, of those that were with a worker when it died.
        self._suspects: deque[Piece] = deque()
        self._ward: Peer | None = None
        self._deaths: dict[tuple[Header, int], list[Peer]] = {}
        self._rows: dict[Header, dict[int, Piece]] = {}

    @property
    def waiting(self) -> bool:
        """Something is with nobody."""
        return bool(self.queued or self._suspects)

    # -- the crew -----------------------------------------------------------------------------------------------------

    def wants(self, worker: Peer, credit: int) -> None:
        """That worker is there, and may have so many at one time."""
        self.workers.setdefault(worker, Worker()).wants(credit)

    def lost(self, worker: Peer, *, died: bool) -> Lost:
        """That worker is gone with what it had. `died`: not because it wanted to, so what it had is suspect."""
        gone = self.workers.pop(worker, None)
        lost = Lost([], [])
        if self._ward == worker:
            self._ward = None
        for piece in [] if gone is None else list(gone.pieces):
            self._lose(piece, worker, died, lost)
        return lost

    def _lose(self, piece: Piece, worker: Peer, died: bool, lost: Lost) -> None:
        rows = self._rows[piece.header]
        left = [i for i, sequence in enumerate(piece.sequences) if rows.get(sequence) is piece]
        if not piece.wanted:
            self._forget(piece.header, [piece.sequences[i] for i in left])
        elif piece.header.at_most_once:
            lost.unknown.append(self._end(piece, left))
        elif not died and not any((piece.header, piece.sequences[i]) in self._deaths for i in left):
            self._requeue(piece.part(left), self._line(piece))
        elif not died:
            self._requeue(piece.part(left), self._suspects)
        else:
            for i in left:
                deaths = self._deaths.setdefault((piece.header, piece.sequences[i]), [])
                deaths.append(worker)
                if len(deaths) >= MAX_DEATHS:
                    lost.dead.append((self._end(piece, [i]), deaths))
                else:
                    self._requeue(piece.part([i]), self._suspects)

    def _requeue(self, piece: Piece, queue: deque[Piece]) -> None:
        if not piece.left:
            return
        rows = self._rows[piece.header]
        rows.update((sequence, piece) for sequence in piece.sequences)
        if queue is self._suspects:
            queue.append(piece)
        else:
            self.queued += piece.left
            queue.appendleft(piece)

    def _line(self, piece: Piece) -> deque[Piece]:
        return self._ahead if piece.header.task in GOES_ON else self._queue

    def _end(self, piece: Piece, indices: Iterable[int]) -> Ended:
        ended = Ended(piece.ticket, piece.header, [piece.sequences[i] for i in indices])
        self._forget(piece.header, ended.sequences)
        return ended

    # -- messages in --------------------------------------------------------------------------------------------------

    def add(self, ticket: int, batch: Batch, expires: int | None) -> None:
        piece = Piece(ticket, batch, expires)
        if batch.header.task == Task.GATHER:
            # The last task of its message, before the parts of others: results come as soon as they can.
            self._ahead.appendleft(piece)
        else:
            self._line(piece).append(piece)
        self.queued += piece.left
        rows = self._rows.get(batch.header)
        if rows is None:
            rows = self._rows[batch.header] = {}
        for sequence in batch.sequences:
            rows[sequence] = piece

    def repeat(self, header: Header, sequences: Iterable[int], before: int) -> list[Given]:
        """These were asked for again: what has been with a worker since earlier than `before` may have been lost on
        the way to it, or the answer on the way back. It goes to the same worker once more, which knows what it has."""
        rows = self._rows.get(header)
        if rows is None or header.at_most_once:
            return []
        given: list[Given] = []
        for sequence in sequences:
            piece = rows.get(sequence)
            if piece is not None and piece.worker is not None and piece.since < before:
                given.append(Given(piece.worker, piece.part([piece.sequences.index(sequence)])))
        return given

    # -- messages out -------------------------------------------------------------------------------------------------

    def assign(self, now: int) -> tuple[list[Given], list[Ended]]:
        """Give out what can be given; and what has expired while it waited."""
        given: list[Given] = []
        expired: list[Ended] = []
        if self._suspects or self._ward is not None:
            self._assign_suspects(given, now)
        if not self.queued:
            return given, expired
        crew = [(peer, worker) for peer, worker in self.workers.items() if worker.credit and not worker.paused]
        ready = [
            (peer, worker)
            for peer, worker in crew
            # In halves of a credit: each frame has its price.
            if peer != self._ward
            and not (worker.alone and worker.has)
            and worker.has < worker.credit
            and 2 * worker.has <= worker.credit
        ]
        if len(ready) > 1:
            ready.sort(key=_has)
        for peer, worker in ready:
            room = min(worker.credit - worker.has, -(-self.queued // len(crew)))
            while room > 0 and self.queued:
                # What it may not have of the next kind is for others: it has some of it to run.
                room_of_kind = worker.room((self._ahead or self._queue)[0].kind)
                if room_of_kind <= 0:
                    break
                piece, over = self._take(min(room, room_of_kind), now)
                if over is not None:
                    expired.append(over)
                if piece is not None:
                    self._give(peer, worker, piece, now)
                    worker.alone = False
                    given.append(Given(peer, piece))
                    room -= piece.left
        return given, expired

    def _take(self, most: int, now: int) -> tuple[Piece | None, Ended | None]:
        """Up to `most` messages from the head of the queue; or the head, where it has expired."""
        queue = self._ahead or self._queue
        head = queue[0]
        rows = self._rows[head.header]
        if head.expires is not None and head.expires <= now:
            queue.popleft()
            self.queued -= head.left
            return None, self._end(head, range(len(head.sequences)))
        if head.left <= most:
            queue.popleft()
            self.queued -= head.left
            return head, None
        piece, rest = head.part(range(most)), head.part(range(most, head.left))
        rows.update((sequence, piece) for sequence in piece.sequences)
        rows.update((sequence, rest) for sequence in rest.sequences)
        queue[0] = rest
        self.queued -= most
        return piece, None

    def _give(self, peer: Peer, worker: Worker, piece: Piece, now: int) -> None:
        piece.worker = peer
        piece.since = now
        worker.took(piece)

    def _assign_suspects(self, given: list[Given], now: int) -> None:
        """One worker is the ward: it runs dry, then gets one suspect at a time and nothing beside it. Others help where
        they have nothing else to do."""
        able = [
            (peer, worker)
            for peer, worker in self.workers.items()
            if worker.credit and not worker.paused and worker.takes_suspects
        ]
        ward = dict(able).get(self._ward) if self._ward is not None else None
        if ward is None or (not self._suspects and not ward.has):
            self._ward = None
        if self._ward is None and self._suspects and able:
            self._ward = min(able, key=_has)[0]
        for peer, worker in able:
            if self._suspects and not worker.has and (peer == self._ward or not self.queued):
                piece = self._suspects.popleft()
                self._give(peer, worker, piece, now)
                worker.alone = True
                given.append(Given(peer, piece))

    # -- messages over ------------------------------------------------------------------------------------------------

    def answered(self, worker: Peer, header: Header, sequences: Sequence[int]) -> list[tuple[int, list[int]]]:
        """That worker has run these: the admissions that they belong to, each with the indices of its messages. What
        is not with it any more is not among them."""
        rows = self._rows.get(header)
        crew = self.workers.get(worker)
        if rows is None:
            return []
        groups: dict[int, list[int]] = {}
        kind, ran = None, 0
        for index, sequence in enumerate(sequences):
            piece = rows.get(sequence)
            if piece is None or piece.worker != worker:
                continue
            assert crew is not None, "what a worker has goes when the worker does"
            del rows[sequence]
            piece.left -= 1
            kind, ran = piece.kind, ran + 1
            if not piece.left:
                del crew.pieces[piece]
            group = groups.get(piece.ticket)
            if group is None:
                groups[piece.ticket] = [index]
            else:
                group.append(index)
        if crew is not None and kind is not None:  # a header is of one kind
            crew.ran(kind, ran)
        if not rows:
            del self._rows[header]
        if self._deaths:
            for sequence in sequences:
                self._deaths.pop((header, sequence), None)
        return list(groups.items())

    def returned(self, worker: Peer, header: Header, sequences: Sequence[int]) -> None:
        """These never got to that worker."""
        crew = self.workers[worker]
        rows = self._rows.get(header, {})
        for sequence in reversed(sequences):
            piece = rows.get(sequence)
            if piece is not None and piece.worker == worker:
                if piece.wanted:
                    queue = self._suspects if (header, sequence) in self._deaths else self._line(piece)
                    self._requeue(piece.part([piece.sequences.index(sequence)]), queue)
                else:
                    self._forget(header, [sequence])
                piece.left -= 1
                crew.has_not(piece.kind, 1)
                if not piece.left:
                    del crew.pieces[piece]

    def drop(self, job: JobId | None = None) -> list[Ended]:
        """Forget all messages of that job, or of every job."""
        return self._drop(piece for piece in self._pieces() if job is None or piece.header.job == job)

    def drop_queued(self) -> list[Ended]:
        """Forget what nobody has begun."""
        pieces = (piece for piece in self._pieces() if piece.worker is None)
        return self._drop(piece for piece in pieces if piece.header.task not in GOES_ON)

    def withdraw(self, header: Header, sequences: Iterable[int]) -> None:
        """Nobody waits for these any more, nor for what else is left of their pieces. Workers keep what they have: else
        one that hangs would be given more and more."""
        rows = self._rows.get(header, {})
        pieces = dict.fromkeys(rows[sequence] for sequence in sequences if sequence in rows)
        self._drop(piece for piece in pieces if piece.worker is None)
        for piece in pieces:
            piece.wanted = False
            piece.payloads = [b""] * len(piece.sequences)

    def is_idle(self, worker: Peer, before: int) -> None:
        """That worker says that it has nothing: what nobody waits for and went to it earlier than `before` is over."""
        pieces = self.workers[worker].pieces
        self._drop([piece for piece in pieces if not piece.wanted and piece.since < before])

    def _pieces(self) -> list[Piece]:
        given = [piece for worker in self.workers.values() for piece in worker.pieces]
        return [*given, *self._ahead, *self._queue, *self._suspects]

    def _drop(self, pieces: Iterable[Piece]) -> list[Ended]:
        gone = dict.fromkeys(pieces)
        ended: list[Ended] = []
        for piece in gone:
            rows = self._rows.get(piece.header, {})
            left = [i for i, sequence in enumerate(piece.sequences) if rows.get(sequence) is piece]
            if piece.worker is not None:
                crew = self.workers[piece.worker]
                crew.has_not(piece.kind, len(left))
                crew.pieces.pop(piece, None)
            ended.append(self._end(piece, left))
        if not gone:
            return []
        self._queue = deque(piece for piece in self._queue if piece not in gone)
        self._ahead = deque(piece for piece in self._ahead if piece not in gone)
        self._suspects = deque(piece for piece in self._suspects if piece not in gone)
        self.queued = sum(piece.left for piece in (*self._ahead, *self._queue))
        return [one for one in ended if one.sequences]

    def _forget(self, header: Header, sequences: Iterable[int]) -> None:
        rows = self._rows[header]
        for sequence in sequences:
            del rows[sequence]
            self._deaths.pop((header, sequence), None)
        if not rows:
            del self._rows[header]


def _has(one: tuple[Peer, Worker]) -> int:
    return one[1].has
