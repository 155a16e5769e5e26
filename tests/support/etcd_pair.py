"""The fake etcd and a real one, asked the same questions in etcd's own messages, and compared answer by answer.

The real process is shared by many runs, the fake is new for each, so their revisions differ by a constant. Questions
are put in the fake's revisions; what the real one says is brought down to them before it is compared. Left out of the
comparison is only what names a process (cluster, member, term) or counts its seconds (a lease's remaining ttl).
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import grpc

from palm.gateway import registry_wire as convert
from palm.gateway.registry_calls import CALLS
from palm.sim.etcd import values as v
from palm.sim.etcd.member import Etcd
from palm.wire import etcd as wire

TIMEOUT_S = 5
BARRIER_KEY = b"~barrier"
FIRST_BARRIER = 1_000_000
REVISIONS = frozenset(
    (
        "revision",
        "create_revision",
        "mod_revision",
        "compact_revision",
        "start_revision",
        "min_mod_revision",
        "max_mod_revision",
        "min_create_revision",
        "max_create_revision",
    )
)

Message = Any  # one of palm.wire.etcd's; which one, the test that made it knows


def map_revisions(message: Message, change: Callable[[int], int]) -> None:
    """Put each revision in `message` that is not 0 through `change`, in place."""
    for field, value in message.ListFields():
        if hasattr(value, "ListFields"):
            map_revisions(value, change)
        elif not isinstance(value, int | bytes | str) and field.message_type:
            for each in value:
                map_revisions(each, change)
        elif field.name in REVISIONS and value:
            setattr(message, field.name, change(value))


class Pair:
    """One run: an empty fake, and a real one emptied for it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.fake = Etcd()
        self._channel = channel
        for lease in self._call(wire.LEASE_LEASES, wire.LeaseLeasesRequest()).leases:
            self._call(wire.LEASE_REVOKE, wire.LeaseRevokeRequest(id=lease.id))
        self._call(wire.DELETE_RANGE, wire.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        self._call(wire.PUT, wire.PutRequest(key=BARRIER_KEY))
        base = self._call(wire.DELETE_RANGE, wire.DeleteRangeRequest(key=BARRIER_KEY)).header.revision
        self.offset = base - self.fake.revision
        self._watches: _RealStream | None = None
        self._fake_stream = self.fake.watch_open(0)
        self._expected: dict[int, list[v.WatchAnswer]] = defaultdict(list)
        self._barriers = 0

    def close(self) -> None:
        if self._watches is not None:
            self._watches.close()

    # -- calls ---------------------------------------------------------------------------------------------------------

    def ask(self, method: wire.Method[Any, Any], request: Message) -> Message | tuple[str, str]:
        """What both answered, once it is proved to be the same: a message, or (status, text) of a refusal."""
        expected = self._ask_fake(method, request)
        self._take()
        shifted = type(request).FromString(request.SerializeToString())
        map_revisions(shifted, lambda revision: revision + self.offset)
        try:
            real: Message | tuple[str, str] = self._call(method, shifted)
        except grpc.RpcError as error:
            real = (error.code().name, error.details())
        else:
            self._normalize(real)
        assert real == expected, f"{method.name}({request}): etcd answered\n{real}\nthe fake\n{expected}"
        return expected

    def _call(self, method: wire.Method[Any, Any], request: Message) -> Message:
        ask = self._channel.stream_stream if method.streaming else self._channel.unary_unary
        stub = ask(method.path, request_serializer=method.serialize, response_deserializer=method.parse_response)
        if method.streaming:
            return next(iter(stub(iter([request]), timeout=TIMEOUT_S)))
        return stub(request, timeout=TIMEOUT_S)

    def _normalize(self, message: Message) -> None:
        message.header.ClearField("cluster_id")
        message.header.ClearField("member_id")
        message.header.ClearField("raft_term")
        map_revisions(message, lambda revision: revision - self.offset)
        _blur(message)

    def _ask_fake(self, method: wire.Method[Any, Any], request: Message) -> Message | tuple[str, str]:
        try:
            answer = CALLS[method.path](self.fake, request, 0)
        except v.EtcdRefused as refused:
            return refused.code, str(refused)
        _blur(answer)
        return answer

    # -- watches -------------------------------------------------------------------------------------------------------

    def watch(self, request: wire.WatchCreateRequest) -> int:
        """Create one watch on both; its id, or -1. Its `created` is compared here, its events by `settle`."""
        self.fake.watch_create(self._fake_stream, convert.watch_request(request), 0)
        taken = self._take()
        created = next(answer for answer in taken if answer.created)
        shifted = wire.WatchCreateRequest.FromString(request.SerializeToString())
        map_revisions(shifted, lambda revision: revision + self.offset)
        self._stream.send(wire.WatchRequest(create_request=shifted))
        real = self._stream.wait_for(lambda answer: answer.created and answer.watch_id < FIRST_BARRIER)
        self._normalize(real)
        assert real == convert.watch_response(created), request
        return created.watch_id

    def cancel_watch(self, id: int) -> None:
        """Cancel a watch that exists, once all its events so far are compared."""
        self.settle()
        self.fake.watch_cancel(self._fake_stream, id, 0)
        self._take()
        self._stream.send(wire.WatchRequest(cancel_request=wire.WatchCancelRequest(watch_id=id)))
        self._stream.wait_for(lambda answer: answer.canceled and answer.watch_id == id and not answer.compact_revision)
        self._expected.pop(id)
        self._stream.told.pop(id, None)

    def settle(self) -> None:
        """Prove that every watch of the real one has told what the fake's has, and not more."""
        if self._watches is None:
            return
        self._barrier()
        for id, expected in self._expected.items():
            events = [event for answer in expected for event in answer.events]
            told = self._stream.wait_for_events(id, len(events), canceled=any(answer.canceled for answer in expected))
            got = wire.WatchResponse(events=[event for answer in told for event in answer.events])
            self._normalize(got)
            wanted = convert.watch_response(v.WatchAnswer(revision=0, watch_id=0, events=tuple(events)))
            assert list(got.events) == list(wanted.events), f"watch {id}: etcd told\n{got}\nthe fake\n{wanted}"
            _assert_whole_revisions(told)
            ends = [
                (answer.compact_revision - self.offset, answer.cancel_reason, answer.header.revision)
                for answer in told
                if answer.canceled
            ]
            wanted_ends = [(end.compact_revision, end.cancel_reason, end.revision) for end in expected if end.canceled]
            assert ends == wanted_ends, f"watch {id} ended with {ends}, in the fake with {wanted_ends}"

    def _take(self) -> list[v.WatchAnswer]:
        answers = self.fake.watch_take(self._fake_stream)
        for answer in answers:
            if not answer.created:
                self._expected[answer.watch_id].append(answer)
            elif answer.watch_id >= 0:
                self._expected[answer.watch_id] = []
        return answers

    @property
    def _stream(self) -> _RealStream:
        if self._watches is None:
            self._watches = _RealStream(self._channel)
        return self._watches

    def _barrier(self) -> None:
        """Return when all watches have caught up.

        etcd serves watches of the past in rounds, so once a new one with a past has told it, or has learnt that it is
        compacted, the older ones had their round too.
        """
        self._barriers += 1
        id = FIRST_BARRIER + self._barriers
        start = self.offset  # the put of BARRIER_KEY; the fake's revision 1 is the delete of it
        create = wire.WatchCreateRequest(key=BARRIER_KEY, start_revision=start, watch_id=id)
        self._stream.send(wire.WatchRequest(create_request=create))
        self._stream.wait_for(lambda answer: answer.watch_id == id and bool(answer.events or answer.compact_revision))
        self._stream.send(wire.WatchRequest(cancel_request=wire.WatchCancelRequest(watch_id=id)))


class _RealStream:
    """One Watch call; a thread reads it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[wire.WatchRequest | None] = queue.SimpleQueue()
        stub = channel.stream_stream(
            wire.WATCH.path, request_serializer=wire.WATCH.serialize, response_deserializer=wire.WATCH.parse_response
        )
        self._call = stub(iter(self._requests.get, None))
        self.told: dict[int, list[wire.WatchResponse]] = defaultdict(list)
        self._unclaimed: list[wire.WatchResponse] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: wire.WatchRequest) -> None:
        self._requests.put(request)

    def wait_for(self, wanted: Callable[[wire.WatchResponse], bool]) -> wire.WatchResponse:
        """The first answer not yet waited for that is `wanted`; it is then used up."""
        end = time.monotonic() + TIMEOUT_S
        with self._changed:
            while True:
                for place, answer in enumerate(self._unclaimed):
                    if wanted(answer):
                        return self._unclaimed.pop(place)
                assert self._changed.wait(end - time.monotonic()), f"etcd never said it; it said {self._unclaimed}"

    def wait_for_events(self, id: int, count: int, *, canceled: bool) -> list[wire.WatchResponse]:
        """All that watch `id` told, when that is at least `count` events, and its end if it is to be `canceled`."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    sum(len(answer.events) for answer in self.told[id]) >= count
                    and (not canceled or any(answer.canceled for answer in self.told[id]))
                ),
                timeout=TIMEOUT_S,
            )
            return list(self.told[id])

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it so
        self._reader.join(TIMEOUT_S)

    def _read(self) -> None:
        try:
            for answer in self._call:
                with self._changed:
                    self._unclaimed.append(answer)
                    if not answer.created:
                        self.told[answer.watch_id].append(answer)
                    self._changed.notify_all()
        except grpc.RpcError:
            return  # closed; who still waits for an answer says that it never came


def _blur(message: Message) -> None:
    if isinstance(message, wire.LeaseTimeToLiveResponse):
        message.ttl = min(message.ttl, 1)
        message.keys[:] = sorted(message.keys)
    if isinstance(message, wire.LeaseLeasesResponse):
        message.leases.sort(key=lambda lease: lease.id)


def _assert_whole_revisions(told: list[wire.WatchResponse]) -> None:
    newest = 0
    for answer in (answer for answer in told if answer.events):
        assert answer.events[0].kv.mod_revision > newest, "a revision was told in two answers"
        newest = answer.events[-1].kv.mod_revision
