"""The jobs of a scenario: who sends what along which route, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from palm.core.route import LONGEST, Route, RouteText, parse_route, parse_stage
from palm.errors import BadRequest
from palm.sim.draws import ZERO, Distribution
from palm.sim.processor import FREE, Costs
from palm.sim.scenario.cpu import CLIENT_CPU
from palm.sim.scenario.distributions import DELAY, SIZES
from palm.sim.scenario.files import find_at
from palm.sim.scenario.forms import (
    DURATION,
    FLAG,
    NAME,
    RATE,
    TEXT,
    Form,
    Key,
    block_of,
    list_of,
    one_of,
    scalar,
    whole,
)
from palm.sim.scenario.payloads import GENERATORS
from palm.sim.scenario.sources import FUNCTION, Run
from palm.sim.scenario.units import Rate
from palm.sim.scenario.yaml_strict import Items, Node, Table, Text, at

MESSAGES_MAX = 100_000_000


def _file(node: Node) -> Path:
    path = find_at(node, TEXT.read(node))
    if path.stat().st_size == 0:
        node.refuse("a file with at least one line", " (it is empty)")
    return path


_GENERATOR = one_of("a payload generator", GENERATORS)


def _payload(node: Node) -> str | Run:
    """`words`, or a function of the user's own."""
    return FUNCTION.read(node) if isinstance(node, Text) and ".py" in node.value else _GENERATOR.read(node)


PAYLOAD = Form("a payload generator, or a function such as orders.py:some", _payload, lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """`count` messages, from one of: a generator (by name, or a function of the user's own), the lines of a file (from
    the top again when they are used up), or random bytes of given sizes."""

    count: Annotated[int, Key("count", whole(1, MESSAGES_MAX))]
    payload: Annotated[str | Run | None, Key("payload", PAYLOAD)] = None
    file: Annotated[Path | None, Key("file", Form("a file", _file))] = None
    sizes: Annotated[Distribution | None, Key("sizes", SIZES)] = None


def _check_messages(messages: Messages, node: Node) -> None:
    if sum(one is not None for one in (messages.payload, messages.file, messages.sizes)) != 1:
        node.place.refuse("messages need one of the keys payload, file and sizes")


def _stage(text: str) -> str:
    try:
        return str(parse_stage(text))
    except BadRequest as error:
        raise ValueError("1 to 128 of letters, digits, '_' and '-', a dot, and the same again") from error


STAGE = scalar("a stage such as clean.line", _stage)


def _route(node: Node) -> Route:
    route = _stages(node)
    if len(route) > LONGEST:
        node.refuse(f"at most {LONGEST} stages")
    try:
        return parse_route(route)
    except BadRequest as error:
        node.place.refuse(str(error))


def _stages(node: Node) -> list[str | list[RouteText] | dict[str, RouteText]]:
    """The list as it stands: stages, lists of branches, and branches by name."""
    route: list[str | list[RouteText] | dict[str, RouteText]] = []
    for one in list_of(_AS_IT_IS, least=1).read(node):
        if isinstance(one, Items):
            route.append([_stages(branch) for branch in one.items])
        elif isinstance(one, Table):
            route.append({name: _stages(branch) for name, branch in one.entries.items()})
        else:
            route.append(STAGE.read(one))
    return route


_AS_IT_IS: Form[Node] = Form("a stage such as clean.line", lambda node: node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. Open: a message each time `rate` says. Closed: `window` in flight; neither: the client's own window."""

    id: Annotated[str, Key("id", NAME)]
    client: Annotated[str, Key("client", NAME)]
    """The host that the client runs on."""
    route: Annotated[Route, Key("route", Form("a list of stages such as clean.line", _route))]
    messages: Annotated[Messages, Key("messages", block_of(Messages, "messages", check=_check_messages))]
    rate: Annotated[Rate | None, Key("rate", RATE)] = None
    window: Annotated[int | None, Key("window", whole(1, 1_000_000))] = None
    clients: Annotated[int, Key("clients", whole(1, 10_000))] = 1
    """How many clients do the same, each a process of its own with payloads of its own: `main[0]` and so on."""
    start_ns: Annotated[int, Key("start", DURATION)] = 0
    """When its client is started."""
    takes: Annotated[Distribution, Key("takes", DELAY)] = ZERO
    """How long the caller is at work on each result before it takes the next one."""
    cpu: Annotated[Costs, Key("cpu", CLIENT_CPU)] = FREE
    """What PALM computes in its client; jobs that share a client agree on it."""
    ordered: Annotated[bool, Key("ordered", FLAG)] = False
    deadline_ns: Annotated[int | None, Key("deadline", DURATION)] = None
    at_most_once: Annotated[bool, Key("at_most_once", FLAG)] = False
    line: int = 0

    def shares_client(self, other: Job) -> bool:
        """Whether one client does both: jobs of one host share it, but those that have several, or start later."""
        alone = [one.clients > 1 or one.start_ns > 0 for one in (self, other)]
        return self.client == other.client and not any(alone)

    @property
    def parts(self) -> tuple[str, ...]:
        """What its runs are called in the ledger: by its id, or one name for each client."""
        return (self.id,) if self.clients == 1 else tuple(f"{self.id}[{n}]" for n in range(self.clients))


def _check_job(job: Job, node: Node) -> None:
    if job.rate is not None and job.window is not None:
        at(node, "window").place.refuse("a job has a rate (open) or a window (closed), not both")
    if job.deadline_ns == 0:
        at(node, "deadline").refuse("a deadline of more than 0")


LOAD = list_of(block_of(Job, "job", check=_check_job), least=1)
