"""The record of one operation's tries: how much time is left, what each endpoint did, and the error that sums it up."""

from __future__ import annotations

import time

from palm.errors import AuthRefused, Indefinite, RegistryError, RegistryTimeout, RegistryUnavailable
from palm.net.etcd.answers import Verdict, way_out
from palm.net.etcd.settings import WAY_OUT


class Tries:
    """One for each operation; its clock starts when it is made."""

    def __init__(self, operation: str, total_s: float) -> None:
        self.operation = operation
        self.unsure = False  # an earlier try may have been applied
        self.tokens = 0  # how often authentication was repeated for this operation
        self.failures = 0
        self.total_s = total_s
        self._started = time.monotonic()
        self._causes: dict[str, Verdict] = {}
        self._was_there = False

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def left_s(self) -> float:
        return self.total_s - self.spent_s

    def note(self, endpoint: str, verdict: Verdict, *, unsure: bool, was_there: bool) -> None:
        """One try failed. `was_there`: the connection stood, so somebody did not answer."""
        self._causes[endpoint] = verdict
        self.failures += 1
        self.unsure = self.unsure or unsure
        self._was_there = self._was_there or was_there

    @property
    def distrusted_everywhere(self) -> int:
        """At how many endpoints the certificates do not fit."""
        return sum(verdict.certificate for verdict in self._causes.values())

    def refused(self, endpoint: str, verdict: Verdict) -> RegistryError:
        return verdict.error(
            f"etcd at {endpoint} refused {self.operation} after {self.spent_s:.1f} s: {verdict.text}{way_out(verdict)}"
        )

    def distrusted(self) -> AuthRefused:
        verdict = next(iter(self._causes.values()))
        return AuthRefused(
            f"no TLS connection for {self.operation} after {self.spent_s:.1f} s: {self._summary()}{way_out(verdict)}"
        )

    def indefinite(self, endpoint: str, verdict: Verdict) -> Indefinite:
        return Indefinite(
            f"{self.operation} was sent to etcd at {endpoint} and may have been applied: {verdict.text} after "
            f"{self.spent_s:.1f} s; read back a value of your own before repeating it"
        )

    def exhausted(self) -> RegistryError:
        """The time is up."""
        if self._was_there:
            return RegistryTimeout(
                f"etcd did not answer {self.operation} within {self.spent_s:.1f} s, and may have applied it: "
                f"{self._summary()}; look at its quorum and its disk, or raise timeout_s"
            )
        if any("no leader" in verdict.text for verdict in self._causes.values()):
            advice = "too few of etcd's members are up to agree: bring the others back"
        else:
            advice = WAY_OUT
        perhaps = ", and it may have been applied" if self.unsure else ""
        return RegistryUnavailable(
            f"no etcd endpoint served {self.operation} within {self.spent_s:.1f} s{perhaps}: "
            f"{self._summary()}; {advice}"
        )

    def _summary(self) -> str:
        causes = [f"{endpoint} ({verdict.text})" for endpoint, verdict in self._causes.items()]
        return ", ".join(causes) or "none was tried"
