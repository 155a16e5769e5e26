"""The turns of a job's iterator, as steps for `Client` and `AsyncClient` to perform: wait, give up, or end."""

from __future__ import annotations

from palm.errors import PalmError, WaitTimeout
from palm.jobs import Job, Outcome, closed
from palm.runtime.engine import ClientEngine
from palm.session import LOOK_S, Open, Session, Steps, check_seconds

READY_S = 30.0
"""How long a job waits for its servers to appear, where the caller names no time."""

STALL_S = 60.0
"""How long a job without a sign of life from any stage is waited for, where the caller names no time."""


class Turns:
    """Those of one submitted job: when there is an outcome, when to give up, and what the caller gets."""

    def __init__(self, session: Session, job: Job, engine: ClientEngine, timeout: float | None) -> None:
        self.job = job
        self._session = session
        self._engine = engine
        self._timeout = check_seconds("timeout", timeout) or session.timeout
        self._ready_s = session.ready_timeout or self._timeout or READY_S
        self._finished = False

    def hands_out(self, error: PalmError) -> bool:
        """Whether an outcome that is no result goes to the caller in place of one; raises it where that is wanted."""
        if self.job.errors == "raise":
            raise error
        return self.job.errors == "yield"

    def take_error(self) -> BaseException | None:
        """Why the job as a whole failed, once; None where it did not."""
        error, self.job.error = self.job.error, None
        return error

    def wait(self, open: Open) -> Steps[Outcome | None]:
        """The next outcome, once there is one; None at the end of the job. Raises WaitTimeout or NoSuchServer."""
        job, now = self.job, self._engine.host.now
        job.settle()
        begin = now()
        while True:
            ended = job.has_ended  # read before the look: nothing is delivered after it
            outcome = job.pop()
            if outcome is not None:
                return outcome
            if ended:
                yield from self._finish(open)
                return None
            waited_s = (now() - begin) / 1e9
            left_s = self._left(waited_s)
            if left_s <= 0:
                raise (yield from self._overdue(open, waited_s))
            yield min(LOOK_S, left_s)
            if self._session.is_closed and job.number is None:
                raise closed()

    def _left(self, waited_s: float) -> float:
        """How much longer to wait for what is waited for now."""
        job, engine = self.job, self._engine
        if not job.is_ready:
            return min(self._ready_s, self._timeout or self._ready_s) - waited_s
        if self._timeout is not None:
            return self._timeout - waited_s
        progress_at = None if job.number is None else engine.progress_at(job.number)
        if progress_at is None:
            return LOOK_S
        return STALL_S - min(waited_s, (engine.host.now() - progress_at) / 1e9)

    def _overdue(self, open: Open, waited_s: float) -> Steps[PalmError]:
        session, engine, job, number = self._session, self._engine, self.job, self.job.number
        waited_s = round(waited_s, 1)
        if number is None:
            return WaitTimeout(f"no result within {waited_s:g} s: the client's thread does not answer")
        missing = yield from session.ask(open, lambda: engine.node.missing(number))
        if missing and not job.is_ready:
            job.cancel()
            return (yield from session.no_such_server(open, missing, waited_s))
        described = yield from session.ask(open, job.describe)
        return WaitTimeout(f"no result within {waited_s:g} s: {described}")

    def _finish(self, open: Open) -> Steps[None]:
        """The last outcome was taken: the ledger must add up."""
        session, engine, job, number = self._session, self._engine, self.job, self.job.number
        job.settle()
        if self._finished or number is None:
            return
        self._finished = True
        session.forget(job)
        if not session.is_closed:
            yield from session.ask(open, lambda: engine.close(number))
        assert job.ledger.adds_up, f"the ledger does not add up: {job.ledger}"
