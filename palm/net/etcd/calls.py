"""One request against several endpoints: deadline, failover, token, and what may be repeated.

The time of a call is shared out among the members, so that a dead first one leaves time for the others. What each
failure means is `answers`; what is said in the end is `tries`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, cast

import grpc
import grpc.aio

from palm.errors import RegistryUnavailable
from palm.net.etcd.answers import Fate, Verdict, judge
from palm.net.etcd.channel import CancelGuard, Link, Links
from palm.net.etcd.settings import EtcdSettings
from palm.net.etcd.token import Token
from palm.net.etcd.tries import Tries
from palm.wire import etcd as wire

TRY_S_MIN = 0.5
SILENCE_S_MIN = 0.25  # no answer in less, as in the rest of a deadline, is no sign of a dead connection
TOKENS_MAX = 3  # repeated authentications within one call; more often means that tokens do not work here
ROUND_PAUSE_S = 0.1  # after all endpoints failed at once; doubled each round up to the next
ROUND_PAUSE_S_MAX = 1.0
PAUSES_MIN = 5  # no pause is longer than that part of a call's time: a renewal must not sleep through its chance

Q = TypeVar("Q", bound=wire.Message)
A = TypeVar("A", bound=wire.Message)
Metadata = tuple[tuple[str, str], ...]
Attempt = Callable[[Link, float, Metadata], Awaitable[A | Verdict]]


class _Headed(Protocol):
    header: wire.ResponseHeader


class Calls:
    """The only way by which requests leave. Belongs to one event loop."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.links = Links(settings)
        self.token = Token(settings, self._authenticate)
        self.cluster_id = 0  # of the last answer; another number is another store
        self._timeout_s = settings.timeout_s

    def tries(self, operation: str, total_s: float | None = None) -> Tries:
        return Tries(operation, self._timeout_s if total_s is None else total_s)

    async def unary(
        self, method: wire.Method[Q, A], request: Q, *, tries: Tries | None = None, once: bool = False
    ) -> A:
        """Ask, wherever somebody answers, until the time of `tries` is up. `once`: rather `Indefinite` than twice."""
        return await self.run(tries or self.tries(method.name), unary_attempt(method, request), once=once)

    async def run(self, tries: Tries, attempt: Attempt[A], *, once: bool = False, with_token: bool = True) -> A:
        """`attempt(link, timeout_s, metadata)` until it returns an answer. Raises only `palm.errors.RegistryError`."""
        per_try_s = max(TRY_S_MIN, tries.left_s / len(self.links))
        if len(self.links) > 1:
            per_try_s = min(per_try_s, tries.left_s / 2)  # one that is dead must not take up all of it
        while tries.left_s > 0:
            link = self.links.current
            sent_at = time.monotonic()
            token = await self._within(tries, self.token.get(tries.left_s)) if with_token else ""
            timeout_s = max(0.0, min(per_try_s, tries.left_s))
            outcome = await _try(link, attempt, timeout_s, metadata(token), connected_first=once)
            if not isinstance(outcome, Verdict):
                link.heard()
                self.cluster_id = cast(_Headed, outcome).header.cluster_id  # every answer of etcd begins with one
                return outcome
            await self._after(outcome, tries, link, token, sent_at, once)
        raise tries.exhausted()

    async def _after(
        self, verdict: Verdict, tries: Tries, link: Link, token: str, sent_at: float, once: bool
    ) -> None:
        """Make the next try worthwhile, or raise why there is none."""
        if verdict.fate in (Fate.REFUSED, Fate.TOKEN):
            link.heard()
        if verdict.fate is Fate.REFUSED:
            raise tries.refused(link.endpoint, verdict) from verdict.cause
        if verdict.fate is Fate.TOKEN:
            tries.tokens += 1
            if not self.token.used or tries.tokens > TOKENS_MAX:
                raise tries.refused(link.endpoint, verdict) from verdict.cause
            await self._within(tries, self.token.get(tries.left_s, stale=token))
            return
        unsure = verdict.fate is Fate.UNSURE
        silent = link.heard_at < sent_at < time.monotonic() - SILENCE_S_MIN
        tries.note(link.endpoint, verdict, unsure=unsure, was_there=unsure and link.connected)
        self.links.leave(link)
        if silent and _timed_out(verdict):
            # Nothing at all came back in this time, not even to a watch: the connection may be dead.
            await self.links.throw_away(link)
        if once and unsure:
            raise tries.indefinite(link.endpoint, verdict) from verdict.cause
        if tries.distrusted_everywhere == len(self.links):
            raise tries.distrusted() from verdict.cause
        full_rounds, rest = divmod(tries.failures, len(self.links))
        if not rest:
            longest_s = min(ROUND_PAUSE_S_MAX, tries.total_s / PAUSES_MIN)
            pause_s = min(ROUND_PAUSE_S * 2 ** (full_rounds - 1), longest_s)
            await asyncio.sleep(max(0.0, min(pause_s, tries.left_s)))

    async def _within(self, tries: Tries, getting: Awaitable[str]) -> str:
        """Another call's authentication is waited for no longer than this call may take."""
        try:
            async with asyncio.timeout(max(0.0, tries.left_s)):
                return await getting
        except TimeoutError as late:
            raise tries.exhausted() from late

    async def _authenticate(self, user: str, password: str, within_s: float) -> str:
        request = wire.AuthenticateRequest(name=user, password=password)
        attempt = unary_attempt(wire.AUTHENTICATE, request)
        answer = await self.run(self.tries("Authenticate", within_s), attempt, with_token=False)
        return answer.token


def metadata(token: str) -> Metadata:
    """What goes with each request. `hasleader`: a member cut off from its leader says so, and keeps nobody waiting."""
    return (("hasleader", "true"), ("token", token)) if token else (("hasleader", "true"),)


def unary_attempt(method: wire.Method[Q, A], request: Q) -> Attempt[A]:
    async def attempt(link: Link, timeout_s: float, metadata: Metadata) -> A | Verdict:
        multicallable = link.channel.unary_unary(
            method.path, request_serializer=method.serialize, response_deserializer=method.parse_response
        )
        answer: A = await multicallable(request, timeout=timeout_s, metadata=metadata)
        return answer

    return attempt


async def _try(
    link: Link, attempt: Attempt[A], timeout_s: float, metadata: Metadata, *, connected_first: bool
) -> A | Verdict:
    guard = CancelGuard()
    try:
        if connected_first and not await _settled(link, timeout_s):
            return Verdict(Fate.UNSENT, RegistryUnavailable, "no connection")
        return await attempt(link, timeout_s, metadata)
    except grpc.aio.AioRpcError as error:
        return judge(error.code(), error.details(), error)
    except asyncio.CancelledError as error:
        if guard.cancelled:
            raise
        return Verdict(Fate.UNSURE, RegistryUnavailable, "the connection was found dead", error)
    except grpc.aio.UsageError as error:  # the channel was closed before the request was given to it
        return Verdict(Fate.UNSENT, RegistryUnavailable, "the connection was found dead", error)


async def _settled(link: Link, within_s: float) -> bool:
    """The channel has connected, or has failed to (then the call says why, unsent)."""
    settled = (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    try:
        async with asyncio.timeout(within_s):
            while (state := link.channel.get_state(try_to_connect=True)) not in settled:
                await link.channel.wait_for_state_change(state)
    except TimeoutError:
        return False
    return True


def _timed_out(verdict: Verdict) -> bool:
    cause = verdict.cause
    if isinstance(cause, grpc.aio.AioRpcError):
        return cause.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return cause is None
