"""What an answer of etcd other than success means: which error it is, and whether the request may have been applied.

The tables are the knowledge; `judge` looks things up in them. Texts are those of etcd's rpctypes in 3.4 and 3.5, and of
grpc's core. Nothing here talks to anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import grpc

from palm.errors import AuthRefused, Compacted, LeaseLost, RegistryError, RegistryRefused, RegistryUnavailable


class Fate(Enum):
    """What became of the request, and so what may be done next."""

    REFUSED = "answered: no"  # definite; raise it
    UNSENT = "it did not reach the store"  # the next endpoint may have it
    UNSURE = "it may have been applied"  # the next endpoint may have it, unless it must not run twice
    TOKEN = "the token is not known"  # not applied; authenticate and repeat


class AuthDisabled(RegistryRefused):
    """Credentials were offered to an etcd that has authentication switched off."""


class AnswerTooLarge(RegistryRefused):
    """An answer is over `receive_bytes_max`; a page must be smaller."""


@dataclass(frozen=True, slots=True)
class Verdict:
    fate: Fate
    error: type[RegistryError]
    text: str
    cause: BaseException | None = None

    @property
    def certificate(self) -> bool:
        """TLS failed over who the other side is: trying again does not help."""
        return self.fate is Fate.UNSENT and self.error is AuthRefused


_BY_TEXT: tuple[tuple[str, Fate, type[RegistryError]], ...] = (
    ("invalid auth token", Fate.TOKEN, AuthRefused),
    ("revision of auth store is old", Fate.TOKEN, AuthRefused),
    ("user name is empty", Fate.TOKEN, AuthRefused),  # no token was sent; authentication was switched on since
    ("authentication is not enabled", Fate.REFUSED, AuthDisabled),
    ("authentication failed", Fate.REFUSED, AuthRefused),
    ("user name not found", Fate.REFUSED, AuthRefused),
    ("permission denied", Fate.REFUSED, AuthRefused),
    ("requested lease not found", Fate.REFUSED, LeaseLost),
    ("required revision has been compacted", Fate.REFUSED, Compacted),
    ("CLIENT: Received message larger than max", Fate.REFUSED, AnswerTooLarge),
    ("CERTIFICATE_VERIFY_FAILED", Fate.UNSENT, AuthRefused),
    ("CERTIFICATE_REQUIRED", Fate.UNSENT, AuthRefused),
    ("BAD_CERTIFICATE", Fate.UNSENT, AuthRefused),
    ("Hostname Verification Check failed", Fate.UNSENT, AuthRefused),
    ("failed to connect to all addresses", Fate.UNSENT, RegistryUnavailable),
    ("too many requests", Fate.UNSENT, RegistryUnavailable),
    # Said by the `hasleader` check, before the request is looked at.
    ("etcdserver: no leader", Fate.UNSENT, RegistryUnavailable),
)

_BY_CODE: dict[grpc.StatusCode, tuple[Fate, type[RegistryError]]] = {
    grpc.StatusCode.UNAVAILABLE: (Fate.UNSURE, RegistryUnavailable),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Fate.UNSURE, RegistryUnavailable),
    grpc.StatusCode.CANCELLED: (Fate.UNSURE, RegistryUnavailable),
    grpc.StatusCode.ABORTED: (Fate.UNSURE, RegistryUnavailable),
    grpc.StatusCode.INTERNAL: (Fate.UNSURE, RegistryUnavailable),  # a stream reset in the middle
    # etcd passes some of Go's own errors on under this code, "context deadline exceeded" among them.
    grpc.StatusCode.UNKNOWN: (Fate.UNSURE, RegistryUnavailable),
    grpc.StatusCode.UNAUTHENTICATED: (Fate.REFUSED, AuthRefused),
    grpc.StatusCode.PERMISSION_DENIED: (Fate.REFUSED, AuthRefused),
}


# What a person can do about it, by the text of the refusal or else its class.
_WAYS_OUT: tuple[tuple[str | type[RegistryError], str], ...] = (
    ("request is too large", "etcd takes about 1.5 MB (its --max-request-bytes)"),
    ("larger than max", "etcd takes about 1.5 MB (its --max-request-bytes)"),
    ("database space exceeded", "compact and defragment it, or raise --quota-backend-bytes; then disarm its alarm"),
    ("too many operations", "etcd takes 128 operations in a transaction (its --max-txn-ops)"),
    ("CERTIFICATE", "check the ca, cert and key that PALM was given, and the name in the endpoint"),
    ("Hostname", "check the name in the endpoint against the certificate's"),
    ("user name is empty", "etcd wants authentication: give user and password"),
    ("permission denied", "grant the user's role read and write on PALM's prefix"),
    (AuthRefused, "check the user and password that PALM was given for etcd"),
    (LeaseLost, "the lease has expired or was revoked; grant a new one"),
    (Compacted, "list again"),
)


def way_out(verdict: Verdict) -> str:
    """What to do about a refusal, as the end of a sentence; empty where etcd's own text says all that is known."""
    for key, text in _WAYS_OUT:
        if key in verdict.text if isinstance(key, str) else issubclass(verdict.error, key):
            return f" ({text})"
    return ""


def judge(code: grpc.StatusCode, details: str | None, cause: BaseException | None = None) -> Verdict:
    """The meaning of a grpc status; everything unknown is a definite refusal."""
    text = details or ""
    for part, fate, error in _BY_TEXT:
        if part in text:
            return Verdict(fate, error, brief(text), cause)
    fate, error = _BY_CODE.get(code, (Fate.REFUSED, RegistryRefused))
    return Verdict(fate, error, brief(text) or code.name, cause)


def brief(text: str) -> str:
    """The part of a grpc or etcd message that people need, at most 200 characters."""
    if "Connection refused" in text:
        return "connection refused"
    if text == "Deadline Exceeded":
        return "no answer"
    text = re.sub(r"^failed to connect to all addresses; last error: (UNKNOWN|UNAVAILABLE): \S+: ", "", text)
    text = text.removeprefix("etcdserver: ")
    return " ".join(text.split())[:200]
