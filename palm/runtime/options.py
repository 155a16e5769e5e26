"""What a user says of a single function, beside its code: `@palm.function(...)`.

The decorator leaves the function as it is and notes the options on it; `palm.runtime.lanes` acts on them.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable, TypeVar, overload

from palm.errors import BadRequest

_NAME = "_palm_options"
MAX_RETRIES = 100
MAX_CONCURRENCY = 4_096
MAX_BATCH = 4_096
CODECS = ("bytes", "text", "json", "pickle")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    retries: int = 0
    backoff_ns: int = 100_000_000
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    timeout_ns: int | None = None
    at_most_once: bool = False
    concurrency: int | None = None
    """None: plain functions one at a time, coroutines without a bound."""
    batch: int | None = None
    codec: str = ""
    """Empty: by the function's type hints."""

    @property
    def are_plain(self) -> bool:
        """Nothing that changes how the function is run."""
        return not self.retries and self.timeout_ns is None and self.concurrency is None and self.batch is None


NONE = Options()


@overload
def function(given: F, /) -> F: ...


@overload
def function(
    *,
    retries: int = 0,
    backoff: float = 0.1,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    timeout: float | None = None,
    at_most_once: bool = False,
    concurrency: int | None = None,
    batch: int | None = None,
    codec: str = "",
) -> Callable[[F], F]: ...


def function(
    given: F | None = None,
    /,
    *,
    retries: int = 0,
    backoff: float = 0.1,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    timeout: float | None = None,
    at_most_once: bool = False,
    concurrency: int | None = None,
    batch: int | None = None,
    codec: str = "",
) -> F | Callable[[F], F]:
    """Options of a server's function: `@palm.function(retries=3, timeout=2)`, or bare.

    `retries`: how often it is run again, at the same instance, when it raises one of `retry_on`; the first time after
    `backoff` seconds, then after twice as long each time, up to a minute, while the message's deadline leaves time. The
    caller gets the last error, with the number of tries; `self.message.tries` counts them. Not for timeouts.

    `timeout`: seconds that one try may take. A coroutine is cancelled. A plain function cannot be stopped: its message
    fails then, what it returns later is dropped and counted, and those behind it wait until it does.

    `at_most_once`: never run a message again when nobody knows whether it was run: where an instance is lost, it fails
    with `FateUnknown`. So does then every message of a job with such a function anywhere on its route.

    `concurrency`: how many messages of this function run beside each other in one instance. By default plain functions
    of an instance run one at a time, all of them together; a number above 1 says that this one is safe to run in so
    many threads, beside the others, too. Coroutines have no bound by default.

    `batch`: the function takes a list of payloads, as many as are ready and at most so many, and returns a list with
    the result of each: bytes, None, or a list of several. An exception in the list is the failure of its message;
    one that is raised fails them all.

    `codec`: "bytes", "text", "json" or "pickle", for payloads and results; by default the type hints say it. Pickle
    runs whatever a sender wishes: only where all senders are trusted.
    """

    def decorate(wanted: F) -> F:
        name = getattr(wanted, "__name__", repr(wanted))
        whole(name, "retries", retries, 0, MAX_RETRIES)
        if concurrency is not None:
            whole(name, "concurrency", concurrency, 1, MAX_CONCURRENCY)
        if batch is not None:
            whole(name, "batch", batch, 1, MAX_BATCH)
            if inspect.isgeneratorfunction(wanted) or inspect.isasyncgenfunction(wanted):
                raise BadRequest(f"function {name!r} has batch={batch} and yields: return a list of lists instead")
        if codec not in ("", *CODECS):
            raise BadRequest(f"function {name!r}: codec is {codec!r}; it takes {', '.join(map(repr, CODECS))}")
        if at_most_once and retries:
            raise BadRequest(f"function {name!r} has at_most_once and retries={retries}: it can have one of them")
        kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise BadRequest(f"function {name!r}: retry_on is {retry_on!r}; an exception type is needed, or a tuple")
        options = Options(
            retries=retries,
            backoff_ns=nanoseconds(name, "backoff", backoff),
            retry_on=kinds,
            timeout_ns=None if timeout is None else nanoseconds(name, "timeout", timeout),
            at_most_once=at_most_once,
            concurrency=concurrency,
            batch=batch,
            codec=codec,
        )
        setattr(wanted, _NAME, options)
        return wanted

    return decorate if given is None else decorate(given)


def options_of(given: Callable[..., Any]) -> Options:
    options = getattr(given, _NAME, NONE)
    return options if isinstance(options, Options) else NONE


def whole(name: str, option: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(
            f"function {name!r}: {option} is {value!r}; a whole number from {least} to {most} is needed"
        )


def nanoseconds(name: str, option: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise BadRequest(
            f"function {name!r}: {option} is {value!r}; a number of seconds above 0 is needed, at most a day"
        )
    return round(value * 1e9)
