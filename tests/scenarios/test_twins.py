"""Broken twins: each scenario breaks when the line that protects it is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from palm.core import chain, client, kinds, memory, server
from palm.errors import HarnessError
from palm.runtime import directory, election, registration
from palm.sim import cluster
from palm.sim import registry as sim_registry
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from palm.wire import payloads
from tests.support.twin import twin

ROOT = Path(__file__).parents[2] / "scenarios"

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use


class Twin(NamedTuple):
    """`check` is what must be broken without `line`; where there is none, the run falls over."""

    scenario: str
    module: ModuleType
    line: str
    instead: str
    check: str


SENT_AGAIN_WHEN_LOST = (
    "                    job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n",
    "                    pass\n",
)
SENT_AGAIN_WHEN_LATE = ("        job.waiting.append(Waiting(left, attempt, flight.expires, link))\n", "")
SENT_AGAIN_WHEN_BOUNCED = (
    "                group.before = None\n            job.waiting.append(group)\n",
    "                group.before = None\n",
)
SENT_AGAIN_WHEN_TURNED_AWAY = (
    "            group.pinned = job.at_most_once and later\n            job.waiting.append(group)\n",
    "            group.pinned = job.at_most_once and later\n",
)
GOES_TO_THE_NEXT_MEMBER = ("            self._at = (self._at + 1) % len(self._lines)\n", "            pass\n")
A_LOST_LEASE = (
    "            except LeaseLost:\n                self._lease = None\n",
    "            except LeaseLost:\n                continue\n",
)
TWINS = [
    Twin("registered/worker-crash", client, *SENT_AGAIN_WHEN_LOST, "exactly-once"),
    Twin(
        "registered/answer-lost",
        server,
        "            effects += self._answer_again(memory, batch, set(fresh), now)\n",
        "",
        "exactly-once",
    ),
    Twin(
        "registered/worker-frozen",
        client,
        "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n",
        "    if False:\n",
        "",
    ),
    Twin("registered/gone-peer", client, *SENT_AGAIN_WHEN_BOUNCED, "exactly-once"),
    Twin(
        "registered/late-start",
        client,
        "        return effects + self._check_ready(now) + self._dispatch_all(now)\n",
        "        return effects + self._dispatch_all(now)\n",
        "exactly-once",
    ),
    Twin("network/one-way-cut", client, *SENT_AGAIN_WHEN_LATE, "exactly-once"),
    Twin("network/partition-and-heal", registration, *A_LOST_LEASE, "registered"),
    Twin(
        "network/doubled-and-reordered",
        memory,
        "        if sequence < self.floor or sequence in self._rows:\n            return False\n",
        "",
        "at-most-once",
    ),
    Twin("network/old-pipe", client, *SENT_AGAIN_WHEN_LOST, "exactly-once"),
    Twin("network/resets", client, *SENT_AGAIN_WHEN_LATE, "exactly-once"),
    Twin(
        "pressure/slow-sink",
        chain,
        "        count = len(job.rows) + job.root.untaken + job.demanded\n",
        "        count = len(job.rows) + job.demanded\n",
        "bounded",
    ),
    Twin("pressure/twice-through-a-slow-server", client, *SENT_AGAIN_WHEN_TURNED_AWAY, "exactly-once"),
    Twin("pressure/ten-clients", client, *SENT_AGAIN_WHEN_TURNED_AWAY, "exactly-once"),
    Twin(
        "butterfly/old-address",
        client,
        "                job.waiting.append(Waiting(left, flight.attempt + 1, flight.expires))\n"
        "                continue\n",
        "                continue\n",
        "exactly-once",
    ),
    Twin(
        "butterfly/clocks",
        election,
        "            self._post(Elected(self._term, self._registration.valid_until - MARGIN))\n",
        "            self._post(Elected(self._term, 1 << 62))\n",
        "one-holder",
    ),
    Twin(
        "registry/no-quorum",
        registration,
        '            except RegistryError as error:\n                self._log(f"registry: {error}")\n',
        "            except RegistryError as error:\n                self._host.crash()\n",
        "goodput",
    ),
    Twin(
        "registry/change-leader",
        registration,
        "            except LeaseLost:\n",
        "            except (LeaseLost, RegistryError):\n",
        "never deposed server primes",
    ),
    Twin(
        "registry/compaction",
        directory,
        "            except Compacted:\n                continue\n",
        "            except Compacted:\n                return\n",
        "converged",
    ),
    Twin(
        "registry/late-watch",
        election,
        '                self._log(f"{self.key} is gone, and the watch did not say so")\n'
        "                await watch.aclose()\n",
        "                pass\n",
        "custom",
    ),
    Twin(
        "registry/unsure",
        election,
        "                if holder is None or holder.lease == lease:\n",
        "                if holder is None:\n",
        "exactly-once",
    ),
    Twin(
        "registry/role-in-doubt",
        registration,
        '            self._written = b""\n            raise\n',
        "            raise\n",
        "exactly-once",
    ),
    Twin("registry/outage-of-many", registration, *A_LOST_LEASE, "registered"),
    Twin(
        "registry/two-outages",
        registration,
        "                pause = min(RETRY, self._renew)\n",
        "",
        "never deposed server primes",
    ),
    Twin("registry/member-crash", sim_registry, *GOES_TO_THE_NEXT_MEMBER, "never deposed server primes"),
    Twin("registry/member-apart", sim_registry, *GOES_TO_THE_NEXT_MEMBER, "converged"),
    Twin("registry/member-frozen", sim_registry, *GOES_TO_THE_NEXT_MEMBER, "converged"),
    Twin(
        "registry/overtaken",
        sim_registry,
        "        if changes:\n            self.handed_on = changes[-1].record.mod_revision\n",
        "        self.handed_on = max(self.handed_on, answer.revision)\n        if changes:\n",
        "converged",
    ),
    Twin(
        "registry/password",
        sim_registry,
        "                    await self._token.get(left, stale=token)\n",
        "",
        "registered",
    ),
    Twin(
        "registry/half-applied",
        registration,
        '            except Indefinite as error:\n                self._log(f"registry: {error}")\n',
        "            except Indefinite:\n"
        "                return Committed(succeeded=True, revision=Revision(2), responses=())\n",
        "registered",
    ),
    Twin(
        "registry/disk-full",
        cluster,
        "kernel.call_at(kernel.now + START_AGAIN, lambda: None if instance.is_up else self.start(instance))\n",
        "pass\n",
        "registered",
    ),
    Twin("chaos/two-stages", client, *SENT_AGAIN_WHEN_LATE, "exactly-once"),
    Twin(
        "chaos/butterfly",
        election,
        "            self._post(Elected(self._term, self._registration.valid_until - MARGIN))\n",
        "            self._post(Elected(self._term, 1 << 62))\n",
        "one-holder",
    ),
    Twin("restart/upgrade", client, *SENT_AGAIN_WHEN_LOST, "exactly-once"),
    Twin(
        "restart/schemas",
        payloads,
        "            return kind.FromString(payload)\n",
        "            message = kind.FromString(payload)\n"
        "            message.DiscardUnknownFields()\n"
        "            return message\n",
        "results",
    ),
    Twin("registered/suspended", registration, *A_LOST_LEASE, "registered"),
    Twin("butterfly/workers", kinds, "workers + 1 if parallel", "workers if parallel", "latency"),
]


@pytest.mark.parametrize("broken", TWINS, ids=[one.scenario for one in TWINS])
def test_without_the_line_that_protects_it_the_scenario_breaks(broken: Twin) -> None:
    """On its first pinned seed; with the line it holds there, which the sweep tests."""
    scenario = load(ROOT / f"{broken.scenario}.yaml")
    with twin(broken.module, broken.line, broken.instead):
        if not broken.check:
            with pytest.raises(HarnessError):
                run(scenario, scenario.runs.seeds.pinned[0])
            return
        result = run(scenario, scenario.runs.seeds.pinned[0])
    found = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert broken.check in found, [(one.check, one.verdict.value, one.why) for one in result.checks]
