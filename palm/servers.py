"""What users subclass, and `run_server`.

A server class is a plain object with methods from bytes to bytes; which of them may be called is said when it is run.
Nothing here knows sockets or the registry: `palm run` and the simulator take it from here.
"""

from __future__ import annotations

import logging
from typing import Any, Awaitable, Literal, Mapping, MutableMapping, Sequence

from palm import nested
from palm.core.names import check_name
from palm.core.route import RouteText
from palm.runtime.envelope import CURRENT, Envelope, all_current, current
from palm.runtime.inside import inside_of
from palm.store import AsyncStore, AsyncStoreSession, Store, StoreSession


class MessageLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the message at hand before each line, where there is one."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        work = CURRENT.get()
        if work is None:
            return msg, kwargs
        message = Envelope(work, work.index)
        job = f"{message.client}/{message.job}"
        trace = message.trace.hex()
        of = {"palm_job": job, "palm_sequence": message.sequence, "palm_trace": trace}
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **of}
        return f"[{job}:{message.sequence}{' ' if trace else ''}{trace}] {msg}", kwargs


class RegisteredServer:
    """A server whose functions every client of the cluster can call by `"name.function"`.

    Methods take one `bytes` and return one `bytes`, as `def` or `async def`. One that yields gives as many results as
    it yields, and one that returns None gives none: the message ends there. Plain functions of one instance run one at
    a time, so they may use `self` without locks; coroutines run beside each other. An exception is the message's end:
    the caller gets it as `HandlerFailed`, and the rest of the job goes on.
    """

    kind = "RegisteredServer"

    @property
    def message(self) -> Envelope:
        """The message that the running function works on: client, job, sequence, part, attempt, deadline, trace."""
        return current()

    @property
    def messages(self) -> list[Envelope]:
        """Those that a function with `@palm.function(batch=...)` works on, in the order of its payloads."""
        return all_current()

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named after the class. Its lines carry job, sequence and trace id of the message at hand."""
        return MessageLog(logging.getLogger(type(self).__name__))

    def on_start(self) -> Awaitable[None] | None:
        """Called before the instance takes messages. Where it raises, the process says so and ends. Override it."""
        return None

    def on_stop(self) -> Awaitable[None] | None:
        """Called after the drain, for at most ten seconds; not where the process dies. Override it."""
        return None

    def call(self, route: RouteText, payload: bytes, *, timeout: float | None = None) -> bytes:
        """One message to other servers (`"server.function"`, or a list of them), and its result; raises what became of
        it instead. Blocks this function, and nothing else of the process.

        The message has what is left of the deadline of the one at hand, and its trace id. `WaitTimeout` after `timeout`
        (60 s) says where it was last seen: a server of one instance that calls itself gets no answer, as its plain
        functions run one at a time.
        """
        return nested.call(self, route, payload, timeout)

    async def acall(self, route: RouteText, payload: bytes, *, timeout: float | None = None) -> bytes:
        """`call`, for `async def` functions."""
        return await nested.acall(self, route, payload, timeout)

    @property
    def store(self) -> Store:
        """The key-value store of this server, which all its instances and clients share; see `palm.Store`. Blocks this
        function, and nothing else of the process; no longer than what is left of the message's deadline."""
        return nested.store(self)

    @property
    def astore(self) -> AsyncStore:
        """`store`, for `async def` functions."""
        return nested.astore(self)

    @property
    def session(self) -> StoreSession:
        """The keys of the session that the message at hand was sent in (`client.job(..., session=NAME)`)."""
        return nested.store(self).session(_session_of(self.message))

    @property
    def asession(self) -> AsyncStoreSession:
        """`session`, for `async def` functions."""
        return nested.astore(self).session(_session_of(self.message))

    def mark(self, name: str) -> None:
        """Say that the code is at a place called `name`: one line of the log, and in the simulator an event of the
        run's ledger, for which a scenario's step can wait (`when: {event: mark, name: NAME}`)."""
        inside_of(self).marks(check_name("mark", name))
        self.log.info("mark %s", name)


class ButterflyServer(RegisteredServer):
    """The same, for work that one process is too slow for: run it in as many processes as there are cores, or machines.

    The instances of one name elect a leader. It takes the messages and hands them out to the others, each as many as
    it can use, and works itself while it is alone. Where the leader is lost, another one takes over; what a lost
    worker had goes to others. So functions must not rely on which process runs them, nor on running only once.
    """

    kind = "ButterflyServer"

    def on_term(self, term: int) -> None:
        """Called when this instance has become the leader; terms only grow. Override it."""


class ScatterGatherServer(ButterflyServer):
    """A parallel server that takes each message apart, runs the function on all parts at the same time, and makes one
    answer of what came back.

    Define `scatter(self, payload)`, which yields the parts (bytes, 1 to 65,536), and `gather(self, results)`, which
    gets the tuple of what the function gave for them, in the order of the parts, None where it gave nothing; it
    returns one result, yields many, or returns None. Both run on workers, as the function does: each on any of them,
    and possibly more than once.

    `partial` says what becomes of a message when a part fails. "fail": it fails, with that part's number and reason.
    "skip": gather gets the results of the others; where there is none, the message fails. "show": gather gets a
    `PartFailed` in the part's place. A part that has not come `part_deadline` seconds after scatter counts as failed;
    None waits for as long as the message's own deadline allows.
    """

    kind = "ScatterGatherServer"
    partial: Literal["fail", "skip", "show"] = "fail"
    part_deadline: float | None = None


class ReduceServer(ButterflyServer):
    """A server whose functions take two payloads and give one: `def add(self, a, b)`. All messages of a job, or each
    `every` so many, come to one result for each key.

    A function must be associative: f(f(a, b), c) = f(a, f(b, c)); the order of messages is kept, the steps are not.
    `palm.testing.check_reduction` looks for what shows that it is not. What has nothing beside it is its own result.
    Each instance folds what it has, and partial results are folded in rounds. Parts run more than once where an
    instance is lost, and count once. Functions and `key` are plain methods.
    """

    kind = "ReduceServer"
    every: int | None = None

    def key(self, payload: bytes) -> bytes | str | None:
        """What a message is folded under. Override it; None is a key like any other."""
        return None


class SourceServer(RegisteredServer):
    """A server with branches of the route behind it: `['a.split', [['b.left'], ['c.right']], 'd.join']`.

    What a function returns goes to every branch, as a copy. `yield 'name', payload` (or to return that pair) sends a
    result to one branch: the names are those of a mapping in the route, `{'even': ['b.left'], 'odd': ['c.right']}`, or
    each branch's first stage. None goes nowhere: the message, or this part of it, ends without a result.

    `outputs` may say which names a function uses, as `{"sort": ["even", "odd"]}`: then a route with other branches
    behind it is refused before its first message, where a name without a branch would fail each message that gets it.
    """

    kind = "SourceServer"
    outputs: Mapping[str, Sequence[str]] = {}


class SinkServer(RegisteredServer):
    """A server in which branches of the route meet. All messages of a job go to one of its instances.

    `join` says how. "arrival": one call for each part, as it comes. "order": the same, one at a time (coroutines, too)
    in the order in which the client sent the messages, the parts of each in the order of their paths; the sink must
    not stand in a branch, and its functions cannot have `retries` or a `concurrency` above 1. "zip": one call for each
    message that was split, with a tuple of all its parts in the order of their paths, None in the place of each that
    was filtered out; where no branches end in it, of all parts of the message.

    `consume` lets messages end here: what a function returns goes nowhere, and the message counts as delivered.
    """

    kind = "SinkServer"
    join: Literal["arrival", "order", "zip"] = "arrival"
    consume = False


def run_server(server: type[object], name: str, functions: Sequence[str] | None = None) -> None:
    """Serve `server` under `name` until told to stop; the last line of a server script.

    `functions` names the methods that may be called; None offers all public methods that the class defines itself.
    Reads its options from the command line (`python server.py run --help`) and ends the process: 0 after a clean drain.
    """
    from palm.cli.script import run_script

    run_script(server, name, functions)


def _session_of(message: Envelope) -> str:
    if not message.session:
        raise LookupError(
            f"message {message.sequence} of job {message.job} belongs to no session: the caller names one, as in "
            "client.job(payloads, route, session='NAME')"
        )
    return message.session
