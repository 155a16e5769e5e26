"""One watch stream on one connection, and how its death is found.

A dead TCP connection looks like a quiet watch. So silence is answered with a question: a progress request first, and
where the server is one that leaves those unanswered (3.4.25-30, 3.5.8-12), a plain read on the same channel. No answer
to either: `Broken`, with `silent` set, and the channel is to be thrown away. The stream knows nothing of resuming.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio

from palm.errors import RegistryUnavailable
from palm.net.etcd.answers import Fate, Verdict, judge
from palm.net.etcd.calls import Metadata, unary_attempt
from palm.net.etcd.channel import Link
from palm.wire import etcd as wire


class Broken(Exception):
    """The stream has ended, and why. `silent`: the other side has not answered at all."""

    def __init__(self, verdict: Verdict, *, silent: bool = False) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict
        self.silent = silent


class WatchStream:
    def __init__(self, link: Link, metadata: Metadata, probe_s: float) -> None:
        self._link = link
        self._metadata = metadata
        self._probe_s = probe_s
        self._call = link.channel.stream_stream(
            wire.WATCH.path,
            request_serializer=wire.WATCH.serialize,
            response_deserializer=wire.WATCH.parse_response,
        )(metadata=metadata)
        self._reading: asyncio.Task[Any] | None = None

    async def create(self, key: bytes, end: bytes, start: int) -> wire.WatchResponse:
        """Ask for the watch and return the first answer: `created`, and perhaps `canceled` already."""
        request = wire.WatchCreateRequest(key=key, range_end=end, start_revision=start, fragment=True)
        await self._write(wire.WatchRequest(create_request=request))
        answer = await self._read_within(self._probe_s)
        if answer is None:
            raise self._silence("no answer to the creation of a watch")
        return answer

    async def read(self) -> wire.WatchResponse:
        """The next answer; progress answers are swallowed. Waits for ever while the other side proves to be there."""
        while True:
            answer = await self._read_within(self._probe_s)
            if answer is None:
                await self._write(wire.WatchRequest(progress_request=wire.WatchProgressRequest()))
                answer = await self._read_within(self._probe_s / 2)
            if answer is None and not await self._other_call_is_answered():
                raise self._silence(f"silent for {2 * self._probe_s:g} s")
            if answer is not None and (answer.events or answer.canceled or answer.fragment):
                return answer

    async def aclose(self) -> None:
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.exception()  # seen, so that asyncio does not report it as lost

    async def _write(self, request: wire.WatchRequest) -> None:
        writing = asyncio.ensure_future(self._call.write(request))
        try:
            done, _ = await asyncio.wait({writing}, timeout=self._probe_s)
        finally:
            writing.cancel()
        if not done:
            raise self._silence("no connection" if not self._link.connected else "it takes no requests")
        _result(writing)

    async def _read_within(self, seconds: float) -> wire.WatchResponse | None:
        """One answer, or None when there was none in this time; the read goes on then."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait({self._reading}, timeout=seconds)
        if not done:
            return None
        reading, self._reading = self._reading, None
        answer = _result(reading)
        if not isinstance(answer, wire.WatchResponse):  # grpc.aio.EOF
            raise Broken(Verdict(Fate.UNSURE, RegistryUnavailable, "the stream was ended by the other side"))
        self._link.heard()
        return answer

    async def _other_call_is_answered(self) -> bool:
        """Any answer of the server's to a read, a refusal too, shows that the connection lives."""
        asked_at = time.monotonic()
        request = wire.RangeRequest(key=b"\0", serializable=True, count_only=True)
        # Without `hasleader`: the question is whether the connection stands, not whether etcd has a quorum.
        metadata = tuple(pair for pair in self._metadata if pair[0] != "hasleader")
        asking: asyncio.Future[Any] = asyncio.ensure_future(
            unary_attempt(wire.RANGE, request)(self._link, self._probe_s / 2, metadata)
        )
        either = {asking} if self._reading is None else {asking, self._reading}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
        if self._reading is not None and self._reading.done():
            return True
        try:
            _result(asking)
        except Broken as broken:
            if broken.verdict.fate in (Fate.UNSENT, Fate.UNSURE):
                return self._link.heard_at > asked_at
        self._link.heard()
        return True

    def _silence(self, text: str) -> Broken:
        return Broken(Verdict(Fate.UNSURE, RegistryUnavailable, text), silent=True)


def _result(task: asyncio.Future[Any]) -> Any:  # of grpc's untyped streams
    """What a finished task brought, with grpc's ways of saying that a stream is over turned into `Broken`."""
    if task.cancelled():  # the channel was thrown away by another call that found it dead
        raise Broken(Verdict(Fate.UNSURE, RegistryUnavailable, "the connection was found dead"))
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, grpc.aio.AioRpcError):
        raise Broken(judge(error.code(), error.details(), error)) from error
    if isinstance(error, (asyncio.InvalidStateError, grpc.aio.UsageError)):  # grpc: written to after its end
        raise Broken(Verdict(Fate.UNSURE, RegistryUnavailable, "the stream was over", error)) from error
    raise error
