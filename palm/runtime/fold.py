"""Runs a reducer's functions: from an `Invoke` to tables, whatever the user's `key` and function do.

Messages of one invocation are folded in the order of their sequences. One that cannot be folded fails, and the others
go on; a run of those is one outcome, said once with the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from palm.core.effect import Invoke
from palm.core.folding import MAX_KEYS, Blame, Folded, Folding, Span, fold_tables
from palm.core.message import Failure, Form, Payload, Status
from palm.errors import BadFrame
from palm.observe.log import RING
from palm.runtime.envelope import CURRENT, Work
from palm.runtime.results import Refused
from palm.wire.codec import encode_failure
from palm.wire.fold import decode_parts, decode_tables, encode_table

if TYPE_CHECKING:
    from palm.runtime.invoke import Invoker


class Reducing(NamedTuple):
    """What a reducer has beside its functions. `key` None: all messages have the same."""

    key: Callable[[bytes], object] | None = None
    every: int = 0


class FoldCall:
    """One Invoke under way. Items are indices into its batch, in the order of sequences."""

    def __init__(self, invoker: Invoker, name: str, effect: Invoke, reducing: Reducing) -> None:
        batch = effect.batch
        self.effect = effect
        self.abandoned = False
        self.began = invoker.now()
        self.order = sorted(range(len(batch)), key=batch.sequences.__getitem__)
        self._invoker = invoker
        self._name = name
        self._limit = invoker.max_payload_bytes
        self._function: Callable[[bytes, bytes], Any] = invoker.function(name)  # type: ignore[assignment]  # of two
        self._key = reducing.key
        self._folding = Folding(
            self._called,
            None if reducing.key is None else self._key_of,
            every=reducing.every,
            limit_bytes=self._limit // 2,
        )
        self._outcomes: list[Any] = []
        self._work = Work(batch, effect.expires, invoker.now)

    # -- where user code runs -----------------------------------------------------------------------------------------

    def run(self, index: int) -> object:
        """None: it is folded; bytes: the table that several came to; or how it ended."""
        invoker, batch = self._invoker, self.effect.batch
        if self.abandoned:
            return Status.CANCELLED
        if invoker.has_passed(self.effect.expires):
            return Status.EXPIRED
        attempt = 1 if batch.attempts is None else batch.attempts[index]
        if invoker.begins is not None:
            invoker.begins(batch.header, batch.sequences[index], attempt)
        self._work.index = index
        if CURRENT.get() is not self._work:
            CURRENT.set(self._work)
            RING.set(invoker.ring)
        payload = batch.payloads[index]
        assert isinstance(payload, bytes), "what has no data is not run"
        try:
            if batch.header.form == Form.TABLES:
                return self._fold_tables(payload, attempt)
            parts = decode_parts(payload) if batch.header.form == Form.PARTS else [payload]
            self._folding.add(int(batch.sequences[index]), parts)
        except Blame as blame:
            return self._failed(blame, attempt)
        except BadFrame as error:
            return self._failure("BAD_REQUEST", "BadFrame", f"came with {error}", attempt)
        return None

    def _fold_tables(self, payload: bytes, attempt: int) -> bytes | Failure:
        def failed(blame: Blame, key: bytes) -> bytes:
            failure = self._failed(blame, attempt)
            return encode_failure(failure._replace(text=f"key {key!r:.200}: {failure.text}"))

        folded = fold_tables(decode_tables(payload), self._called, failed)
        table = encode_table(folded)
        if len(table) > self._limit or len(folded) > MAX_KEYS:
            return self._too_large(len(table), len(folded), attempt)
        return table

    def _called(self, left: bytes, right: bytes) -> bytes:
        result = self._function(left, right)
        if type(result) is not bytes:
            hint = ": encode it, e.g. result.encode()" if isinstance(result, str) else ""
            raise Refused("BAD_RESULT", "TypeError", f"returned {type(result).__name__}, bytes are needed{hint}")
        if len(result) > self._limit:
            text = f"returned {len(result)} bytes, over the limit of {self._limit} (raise max_payload_bytes)"
            raise Refused("TOO_LARGE", "PayloadTooLarge", text)
        return result

    def _key_of(self, payload: bytes) -> bytes:
        assert self._key is not None, "only asked where there are keys"
        key = self._key(payload)
        if isinstance(key, str):
            return key.encode()
        if key is None:
            return b""
        if type(key) is not bytes:
            raise Refused("BAD_RESULT", "TypeError", f"returned {type(key).__name__}, bytes or str are needed")
        return key

    def _failed(self, blame: Blame, attempt: int) -> Failure:
        error = blame.__cause__
        assert error is not None, "blame has a reason"
        return self._invoker.raised("key" if blame.key is None else self._name, error, attempt)

    def _too_large(self, size_bytes: int, keys: int, attempt: int = 1) -> Failure:
        text = (
            f"gave a table of {size_bytes} bytes and {keys} keys, over the limits of {self._limit} and {MAX_KEYS} "
            "(let `every` be less, or have fewer keys)"
        )
        return self._failure("TOO_LARGE", "PayloadTooLarge", text, attempt)

    def _failure(self, reason: str, kind: str, text: str, attempt: int) -> Failure:
        return self._invoker.raised(self._name, Refused(reason, kind, text), attempt)

    # -- home ---------------------------------------------------------------------------------------------------------

    def done(self, outcomes: list[Any]) -> None:
        """Some are through. Only when all are is it known which runs there are."""
        self._outcomes += outcomes
        if len(self._outcomes) == len(self.order):
            self._invoker.finish_all(self, *self._columns())

    def _columns(self) -> tuple[list[int], list[Payload], list[int]]:
        sequences: list[int] = []
        payloads: list[Payload] = []
        statuses: list[int] = []
        for index, outcome in zip(self.order, self._outcomes, strict=True):
            sequence = self.effect.batch.sequences[index]
            if isinstance(outcome, bytes):
                sequences.append(Span(sequence, 1))
                payloads.append(outcome)
                statuses.append(Status.FOLDED)
            elif outcome is not None:
                sequences.append(sequence)
                payloads.append(outcome if isinstance(outcome, Failure) else b"")
                statuses.append(Status.FAILED if isinstance(outcome, Failure) else outcome)
        for run in self._folding.runs:
            table = encode_table(run.table())
            if len(table) > self._limit:
                sequences += run.span.sequences
                payloads += [self._too_large(len(table), len(run.values))] * run.count
                statuses += [Status.FAILED] * run.count
                continue
            sequences += _identities(run)
            payloads += [table, *[b""] * (run.count - 1)]
            statuses += [Status.FOLDED, *[Status.WITHIN] * (run.count - 1)]
        return sequences, payloads, statuses


def _identities(run: Folded) -> list[int]:
    return [run.span, *run.span.sequences[1:]]
