"""What a route asks of the servers that it names, before the first message is sent: the functions that it calls, one
that splits before branches and one that joins behind them."""

from __future__ import annotations

from palm.core.folding import REDUCE
from palm.core.joins import SINK, SOURCE, SOURCES, unfit
from palm.core.links import Links
from palm.core.names import BUILT_IN
from palm.core.route import Branching, Route
from palm.core.store import FUNCTION as STORE
from palm.errors import BadRequest, NoSuchFunction, PalmError, did_you_mean


def objection(route: Route, links: Links) -> PalmError | None:
    """Why these instances cannot run that route; None: they can."""
    for stage in route:
        listed = sorted({name for link in links.of(stage.server).values() for name in link.instance.functions})
        if stage.function not in listed and stage.function not in BUILT_IN and stage.function != STORE:
            return NoSuchFunction(
                f"server {stage.server!r} has no function {stage.function!r}"
                f"{did_you_mean(stage.function, listed)}; it lists {', '.join(listed) or 'none'}"
            )
    return _misplaced(route, links) if isinstance(route, Branching) else None


def _misplaced(route: Branching, links: Links) -> PalmError | None:
    """Branches need a server that splits before them, and one that joins behind them."""
    places = [(stage, SOURCE, SOURCES, "branches begin behind") for stage in route.branches]
    joins = frozenset({SINK, REDUCE})
    places += [(stage, SINK, joins, "branches never join: they meet in") for stage in route.joins]
    for stage, wanted, able, what in sorted(places):
        kinds = {link.instance.kind for link in links.of(route[stage].server).values()}
        if not kinds & able:
            return BadRequest(
                f"{what} {route[stage]}, which is a {', '.join(sorted(kinds))}: a {wanted} is needed there"
            )
    for stage in sorted({*route.within, *route.branches}):
        instances = [link.instance for link in links.of(route[stage].server).values()]
        text = next(filter(None, (unfit(route, stage, instance) for instance in instances)), "")
        if text:
            return BadRequest(text)
    return None
