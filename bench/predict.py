"""How well the simulator foretells this machine: fitted to a recording of a leader and one worker, asked for two,
and held against two real ones. The work is 2 ms of processor time a message, as in `butterfly`.

PALM's figure is what was predicted; beside it stands what was measured, without a recording, right after.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.figures import Figure
from bench.processes import Fleet, ask
from palm.observe.record import read
from palm.sim.calibrate import as_yaml, calibrate
from palm.sim.plan import Vary, plan

FITTED, ASKED = 1, 2
"""Workers."""
WINDOW = 64
WITHIN = 0.15

SERVER = """
from palm import ButterflyServer


class Work(ButterflyServer):
    def burn(self, message: bytes) -> bytes:
        return message
"""

SCENARIO = """
palm: scenario/1
name: predict
about: What two workers would do.
calibration: fit.yaml
clock: {limit: 1h}
world:
  hosts: {here: {}}
  servers:
    burn: {run: "work.py:Work", host: here, instances: 2, functions: [burn]}
load:
  - {id: main, client: here, route: [burn.burn], messages: {count: COUNT, sizes: 100B}, window: WINDOW}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """Messages a second, and the 99th percentile of how long (ms) they were under way."""

    throughput: float
    p99_ms: float


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages, warm_up = (300, 60) if smoke else (3_000, 500)
    predicted: list[Seen] = []
    measured: list[Seen] = []
    loads: list[float] = []
    for _ in range(rounds):
        predicted.append(_predicted(messages, warm_up))
        measured.append(_run(ASKED, messages, warm_up))
        loads.append(os.getloadavg()[0])
    rates = [one.throughput / other.throughput for one, other in zip(predicted, measured, strict=True)]
    tails = [one.p99_ms / other.p99_ms for one, other in zip(predicted, measured, strict=True)]
    ratio, tail = median(rates), median(tails)
    return Figure(
        bench="predict",
        unit="messages/s predicted",
        palm=median(one.throughput for one in predicted),
        raw=median(one.throughput for one in measured),
        ratio=ratio,
        target=f"throughput and p99 (ratio {tail:.2f}, {min(tails):.2f} to {max(tails):.2f}) off by 15 % at most",
        met=abs(ratio - 1) <= WITHIN and abs(tail - 1) <= WITHIN,
        palm_rounds=[one.throughput for one in predicted],
        raw_rounds=[one.throughput for one in measured],
        ratio_spread=(min(rates), max(rates)),
        more={
            "fitted_on_workers": FITTED,
            "asked_for_workers": ASKED,
            "p99_ms": [round(one.p99_ms, 2) for one in predicted],
            "measured_p99_ms": [round(one.p99_ms, 2) for one in measured],
            "p99_ratio": round(tail, 3),
            "load_average": [round(one, 1) for one in loads],
        },
    )


def _predicted(messages: int, warm_up: int) -> Seen:
    """Of two workers, by the recording of one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "one.jsonl"
        _run(FITTED, messages, warm_up, str(recording))
        with open(recording, "rb") as lines:
            (folder / "fit.yaml").write_text(as_yaml(calibrate(read({recording.name: lines}))))
        (folder / "work.py").write_text(SERVER)
        (folder / "predict.yaml").write_text(
            SCENARIO.replace("COUNT", str(messages)).replace("WINDOW", str(WINDOW))
        )
        vary = Vary(key="workers", of="burn", values=(ASKED,))
        [point] = list(plan(str(folder / "predict.yaml"), vary, [1, 2, 3]))
        return Seen(point.throughput, point.p99 / 1e6)


def _run(workers: int, messages: int, warm_up: int, record: str = "") -> Seen:
    """On real processes."""
    with Fleet() as fleet:
        etcd = fleet.registry()
        for _ in range(workers + 1):
            fleet.server("burn", etcd, "bench.servers:Burn", *(["--record", record] if record else []))
        rate, p99_ms = ask(
            "bench.client:timed",
            etcd=etcd,
            server="burn",
            route=["burn.burn"],
            instances_here=workers + 1,
            messages=messages,
            payload_bytes=100,
            window=WINDOW,
            warm_up=warm_up,
            record=record,
        )
        return Seen(rate, p99_ms)
