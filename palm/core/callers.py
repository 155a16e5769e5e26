"""Who may send to an instance: those that said Hello and beat since, and clients that are known by their jobs only.

A caller owes a word every half second. Who owes too many is forgotten, with all that is held for it.
"""

from __future__ import annotations

from palm.core.message import PROTOCOL_VERSION, Hello, Peer, Refused, Welcome

FORGET_SILENT_CALLER = 30_000_000_000
"""A caller beats every 0.5 s; one that was silent this long (ns), and its jobs, are forgotten."""


class Callers:
    def __init__(self, *, peer: Peer, server: str, cluster: str) -> None:
        self._peer = peer
        self._server = server
        self._cluster = cluster
        self._heard: dict[Peer, int] = {}
        # Clients that have messages here and no link, with since when: they too are forgotten in time.
        self._absent: dict[Peer, int] = {}
        self.deadline: int | None = None
        """When `silent` wants to be asked again."""

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._heard

    def greeted(self, peer: Peer, hello: Hello, now: int) -> Welcome | Refused:
        refusal = self._refusal(hello)
        if refusal is not None:
            self._heard.pop(peer, None)
            return refusal
        self._heard[peer] = now
        self._absent.pop(peer, None)
        if self.deadline is None:
            self.deadline = now + FORGET_SILENT_CALLER
        return Welcome(PROTOCOL_VERSION)

    def _refusal(self, hello: Hello) -> Refused | None:
        if hello.expects != self._peer:
            return Refused("NOT_ME", f"this is {self._peer} of server {self._server}, not {hello.expects!r:.80}")
        if hello.version != PROTOCOL_VERSION:
            return Refused(
                "VERSION",
                f"this instance speaks protocol {PROTOCOL_VERSION}, you speak {hello.version}: "
                "install one release on both",
            )
        if hello.cluster != self._cluster:
            return Refused("CLUSTER", f"this instance is of namespace {self._cluster!r}, not {hello.cluster!r:.140}")
        return None

    def heard(self, peer: Peer, now: int) -> bool:
        """A word of a caller's; False: it never said Hello."""
        if peer not in self._heard:
            return False
        self._heard[peer] = now
        return True

    def known_by_jobs(self, client: Peer, now: int) -> None:
        """Something is held for it. Where it has no link its time runs from now, unless it runs already."""
        if client not in self._heard:
            self._absent.setdefault(client, now)

    def heard_of(self, client: Peer, now: int) -> None:
        """Others still send for it."""
        if client in self._absent:
            self._absent[client] = now

    def lost(self, peer: Peer, now: int) -> None:
        """Its link is no more."""
        self._heard.pop(peer, None)
        self._absent.setdefault(peer, now)

    def silent(self, now: int) -> list[Peer]:
        """Those that have just been forgotten."""
        if self.deadline is None or now < self.deadline:
            return []
        last_word = {**self._absent, **self._heard}
        silent = [peer for peer, heard in last_word.items() if now - heard >= FORGET_SILENT_CALLER]
        for peer in silent:
            self._heard.pop(peer, None)
            self._absent.pop(peer, None)
        self.deadline = now + FORGET_SILENT_CALLER if self._heard or self._absent else None
        return silent
