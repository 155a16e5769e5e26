"""PALM's only exception tree.

Each class says whether the failure is *definite* (the thing asked for did not happen and will not) or *indefinite*
(it may have happened). Only indefinite failures are retried by PALM. Messages name the thing, the limit, the value and
the way out; they are shown to users as they are.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import ClassVar, Iterable


class PalmError(Exception):
    """Anything that PALM raises on purpose."""

    definite: ClassVar[bool] = True


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` when `known` holds a near name, else the empty string."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


# -- what a caller asked for cannot be served ------------------------------------------------------------------------


class BadRequest(PalmError):
    """An argument or a field is not of the form that PALM takes; names the field and the form."""


class BadName(BadRequest):
    """A server, function, namespace or client name outside `[A-Za-z0-9_-]{1,128}`."""


class NoSuchServer(PalmError):
    """No live instance has that server name; lists what exists."""


class NoSuchFunction(PalmError):
    """The server lives but does not list the function; lists what it has."""


class StartFailed(PalmError):
    """A server's own `on_start` raised: the instance was not registered, and its process ends."""


class NameTaken(PalmError):
    """Instances of another kind serve under that name; names the first of them, and the way out."""


class PayloadTooLarge(PalmError):
    """A payload is over `max_payload_bytes`; names both and the way out."""


class WaitTimeout(PalmError):
    """A wait of the caller's own ended before what it waited for; says what that was. Nothing is lost by it."""

    definite = False


class ClientClosed(PalmError):
    """The client was used after `close`, or closed under a running job."""


# -- how a message can end, other than by its result ------------------------------------------------------------------


class MessageFailed(PalmError):
    """A message ended without a result. `sequence` is its place in the job, counted from 0."""

    sequence: int | None = None


class HandlerFailed(MessageFailed):
    """User code raised. Definite: PALM does not run it again by itself.

    `kind` is the remote exception's type name, `text` its text, `remote_traceback` its traceback as text; `server`,
    `function`, `instance` and `attempt` say where and at which try.
    """

    def __init__(
        self,
        *,
        kind: str,
        text: str,
        remote_traceback: str = "",
        server: str = "",
        function: str = "",
        instance: str = "",
        attempt: int = 1,
    ) -> None:
        # What a leader finds missing was at no single instance.
        where = f"instance {instance}, " if instance else ""
        super().__init__(f"{server}.{function} raised {kind}: {text} ({where}attempt {attempt})")
        self.kind = kind
        self.text = text
        self.remote_traceback = remote_traceback
        self.server = server
        self.function = function
        self.instance = instance
        self.attempt = attempt


class DeadlineExpired(MessageFailed):
    """The message's deadline passed before its result; a stage does not run what has expired."""


class DeadLettered(MessageFailed):
    """The message's attempts are used up: the instances that took it died, or none answered in time."""

    definite = False


class FateUnknown(MessageFailed):
    """An instance was lost that may or may not have run the message, and it must not run twice."""

    definite = False


class JobCancelled(MessageFailed):
    """The job was cancelled, or its client closed, while the message was in flight."""

    definite = False


# -- the registry -----------------------------------------------------------------------------------------------------


class RegistryError(PalmError):
    """The registry did not do what was asked; the subclass says what is known about it."""

    definite = False


class RegistryUnavailable(RegistryError):
    """No endpoint answered; names the endpoints, the operation, the time spent and the way out."""


class RegistryTimeout(RegistryError):
    """An endpoint was there but did not answer within the deadline. The operation may have been applied."""


class RegistryRefused(RegistryError):
    """The registry answered that it will not: an invalid request, too large a value, no space."""

    definite = True


class AuthRefused(RegistryError):
    """User, password, certificate or permission was refused; repeating it does not help."""

    definite = True


class Compacted(RegistryError):
    """The revision asked for is gone; list again and watch from the list's revision + 1."""

    definite = True

    def __init__(self, message: str, *, compact_revision: int = 0) -> None:
        super().__init__(message)
        self.compact_revision = compact_revision


class LeaseLost(RegistryError):
    """The lease has expired, was revoked, or is unknown to the registry."""

    definite = True


class Indefinite(RegistryError):
    """A transaction that may have been applied; read back a value of your own before repeating it."""


# -- stores -----------------------------------------------------------------------------------------------------------


class StoreRefused(PalmError):
    """The store did not do it and will not: a key or value over its limit, a full disk. Names the thing, the limit and
    the way out."""


class StoreUnavailable(PalmError):
    """The store could not serve within the time given; says what it waits for. A write may have been done where the
    text says so."""

    definite = False


class WatchGap(PalmError):
    """A watch cannot go on without missing changes: it is too far behind, or the store began anew. List, and watch from
    there."""


class StorageError(PalmError):
    """The directory of a store cannot be used: names it and says why."""


# -- the wire and files -----------------------------------------------------------------------------------------------


class BadFrame(PalmError):
    """Bytes from a socket that are not a PALM frame; counted and dropped, never passed on."""


class ScenarioError(PalmError):
    """A scenario file that cannot be run; names file, line, key and what was expected."""


class BadRecord(PalmError):
    """A file that is no recording of a run, or holds too little; names file, line and what was expected."""


class HarnessError(PalmError):
    """The simulator itself failed: verdict 3, never a finding about the code under test."""
