"""From the recording of a real run to what the simulator needs to be like it: delays of links, times and processor time
of handlings, and what PALM itself costs.

A handling's time is taken apart: what its thread computed becomes `cpu.handling`, what it waited for anything but a
processor becomes `service`, and what it waited for a processor is left out, as the simulator makes that by itself.
PALM's own cost is what a process computed beside its handlings, shared out over the frames and messages it carried.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul
from typing import Iterator, Sequence

from palm.errors import BadRecord
from palm.observe.record import Process, delays
from palm.sim.draws import Distribution, Empirical, Fixed, LogNormal, Mix, Normal, Uniform
from palm.sim.fit import QUANTILES, Fitted, fit, shares
from palm.sim.scenario.calibration import VERSION
from palm.sim.scenario.document import quoted
from palm.sim.scenario.units import show_duration

LEAST = 50
"""Fewer handlings or frames than this say nothing about a 99th percentile."""
_DIGITS = 4
_LINE = 116


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Processor time of PALM (ns), and how good that is: by process, what it used beside handlings while it was busy,
    as a part of one core, and what the fit says it would."""

    frame: int
    message: int
    handover: int
    used: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFit:
    """Of one server. `handling` None: its functions' processor time cannot be told, it is in PALM's cost."""

    service: Fitted
    handling: Fitted | None
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Everything that was fitted. `local`: between processes of one host; `links`: between hosts."""

    local: Fitted | None
    links: Fitted | None
    cores: int | None
    servers: dict[str, ServerFit]
    clients: Cost | None
    seconds: float
    """From the first handling to the last."""


def calibrate(processes: Sequence[Process]) -> Calibrated:
    """Raises BadRecord where too little happened."""
    by_server: dict[str, list[Process]] = {}
    for process in processes:
        by_server.setdefault(process.server, []).append(process)
    clients = by_server.pop("", [])
    handled = {name: sum(len(one.handled) for one in group) for name, group in by_server.items()}
    if not by_server:
        raise BadRecord("the recording is of clients only: record the servers too, with `palm run --record FILE`")
    for name, count in handled.items():
        if count < LEAST:
            raise BadRecord(
                f"{count} messages of server {name!r} were handled while it was recorded: at least {LEAST} are needed "
                "(some hundreds are better)"
            )
    took = list(delays(processes))
    cores = {process.cores for process in processes}
    moments = [one.at for process in processes for one in process.handled]
    return Calibrated(
        local=_delay(took, True),
        links=_delay(took, False),
        cores=cores.pop() if len(cores) == 1 else None,
        servers={name: _server(group) for name, group in by_server.items()},
        clients=_cost(clients) if clients else None,
        seconds=(max(moments) - min(moments)) / 1e9,
    )


def _delay(took: list[tuple[bool, int]], local: bool) -> Fitted | None:
    chosen = [one for is_local, one in took if is_local == local]
    return fit(chosen) if len(chosen) >= LEAST else None


def _server(group: Sequence[Process]) -> ServerFit:
    known = [one for process in group for one in process.handled if one.computed >= 0]
    if not known:
        times = [one.took for process in group for one in process.handled]
        return ServerFit(service=fit(times), handling=None, cost=_cost(group))
    return ServerFit(
        service=fit(max(0, one.took - one.computed - max(0, one.waited)) for one in known),
        handling=fit(one.computed for one in known),
        cost=_cost(group),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A span in which a process carried messages."""

    lasted: int
    spent: float
    """Beside handlings."""
    carried: tuple[float, float, float]
    """Frames, messages, handlings."""


def _cost(group: Sequence[Process]) -> Cost:
    each = [rows for process in group if (rows := list(_busy(process)))]
    spent = [(row.spent, row.carried) for rows in each for row in rows]
    costs = shares(spent) or (0.0, 0.0, 0.0)
    used = []
    for rows in each:
        lasted = sum(row.lasted for row in rows)
        fitted = sum(sum(map(mul, costs, row.carried)) for row in rows)
        used.append((sum(row.spent for row in rows) / lasted, fitted / lasted))
    frame, message, handover = map(round, costs)
    return Cost(frame=frame, message=message, handover=handover, used=tuple(used))


def _busy(process: Process) -> Iterator[_Row]:
    for before, after in zip(process.used, process.used[1:], strict=False):
        if after.messages > before.messages:
            ended = [one for one in process.handled if before.at < one.at + one.took <= after.at]
            spent = after.computed - before.computed - sum(max(0, one.computed) for one in ended)
            carried = after.frames - before.frames, after.messages - before.messages, len(ended)
            yield _Row(after.at - before.at, spent, carried)


# -- in words ---------------------------------------------------------------------------------------------------------


def as_yaml(found: Calibrated) -> str:
    """The file that a scenario takes as it is: `calibration: FILE`."""
    lines = [f"# Fitted by `palm calibrate` to {found.seconds:.1f} s of a real run; how well, stands at the end."]
    lines.append(f"palm: {VERSION}")
    links = [("local", found.local), ('"* <-> *"', found.links)]
    if any(fitted is not None for _, fitted in links):
        lines.append("links:")
        for between, fitted in links:
            if fitted is not None:
                lines += _wrapped(f"  - {{between: {between}, delay: {_written(fitted.best.distribution)}}}")
    if found.cores is not None:
        lines.append(f"cores: {found.cores}")
    lines.append("servers:")
    for name, server in found.servers.items():
        lines.append(f"  {quoted(name)}:")
        lines += _wrapped(f"    service: {_written(server.service.best.distribution)}")
        handling = "" if server.handling is None else f"handling: {_written(server.handling.best.distribution)}, "
        lines += _wrapped(f"    cpu: {{{handling}{_cost_words(server.cost)}}}")
    if found.clients is not None:
        lines.append(f"clients: {{cpu: {{{_cost_words(found.clients)}}}}}")
    lines += ["#", *(f"# {line}".rstrip() for line in report(found))]
    return "\n".join(lines) + "\n"


def report(found: Calibrated) -> Iterator[str]:
    """How good the fits are, as a table for people."""
    yield f"{'':<24}{'n':>8}  {'p50':>9} {'p90':>9} {'p99':>9} {'max':>9}   distance"
    for what, fitted in _all(found):
        measured = (fitted.measured(share) for share in QUANTILES)
        yield f"{what:<24}{len(fitted.samples):>8}  {' '.join(f'{_ms(one):>9}' for one in measured)}   (ms, measured)"
        for one in fitted.fits:
            mark = "*" if one is fitted.best else " "
            quantiles = " ".join(f"{_ms(one.at(share)):>9}" for share in QUANTILES)
            yield f"{f'  {mark} {one.kind}':<24}{'':>8}  {quantiles}   {one.ks:.3f}"
    yield "distance: Kolmogorov-Smirnov, from 0 to 1; * is taken. PALM's own processor time, as a part of one core:"
    for what, cost in [*((name, server.cost) for name, server in found.servers.items()), ("clients", found.clients)]:
        if cost is not None:
            pairs = ", ".join(f"{used:.1%} (fitted {fitted:.1%})" for used, fitted in cost.used)
            yield f"  {what}: {_cost_words(cost)}; by process: {pairs or 'nothing was seen'}"


def _all(found: Calibrated) -> Iterator[tuple[str, Fitted]]:
    for what, fitted in (("local link", found.local), ("links", found.links)):
        if fitted is not None:
            yield what, fitted
    for name, server in found.servers.items():
        yield f"{name}: service", server.service
        if server.handling is not None:
            yield f"{name}: cpu.handling", server.handling


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f}"


def _cost_words(cost: Cost) -> str:
    handover = f"handover: {_time(cost.handover)}, " if cost.handover else ""
    return f"{handover}frame: {_time(cost.frame)}, message: {_time(cost.message)}"


def _time(ns: int) -> str:
    """With as many digits as a measurement has."""
    more = max(0, len(str(ns)) - _DIGITS)
    return show_duration(round(ns, -more))


def _written(shape: Distribution) -> str:
    match shape:
        case Fixed(value=value):
            return _time(value)
        case Uniform(low=low, high=high):
            return f"{{uniform: {{low: {_time(low)}, high: {_time(high)}}}}}"
        case Normal(mean=mean, deviation=deviation):
            return f"{{normal: {{mean: {_time(mean)}, deviation: {_time(deviation)}}}}}"
        case LogNormal(p50=p50, p99=p99):
            return f"{{lognormal: {{p50: {_time(p50)}, p99: {_time(p99)}}}}}"
        case Empirical(samples=samples):
            return f"{{empirical: [{', '.join(map(_time, samples))}]}}"
        case Mix(parts=parts):
            each = (f"{{weight: {weight:.0f}, {_written(part)[1:]}" for weight, part in parts)
            return f"{{mix: [{', '.join(each)}]}}"
    raise ValueError(f"{type(shape).__name__} is not written here")


def _wrapped(line: str) -> Iterator[str]:
    """A long flow mapping over several lines, which YAML reads as one."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    while len(line) > _LINE:
        at = line.rindex(", ", 0, _LINE) + 1
        yield line[:at]
        line = indent + line[at:].lstrip()
    yield line
