"""What `palm calibrate` writes, and how a scenario takes it: times and costs, put where the scenario says none.

`calibration: fit.yaml` in a scenario names such a file. Its links come before the scenario's own, which so override
them; its cores are those of every host, its servers' times and costs those of the servers of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Mapping

from palm.errors import did_you_mean
from palm.sim.draws import ZERO, Distribution
from palm.sim.processor import FREE, Costs
from palm.sim.scenario import yaml_strict
from palm.sim.scenario.cpu import CLIENT_CPU, CPU
from palm.sim.scenario.distributions import DELAY
from palm.sim.scenario.files import find_at
from palm.sim.scenario.forms import TEXT, Form, Key, block_of, map_of, take, whole
from palm.sim.scenario.world import LINKS, LinkBlock
from palm.sim.scenario.yaml_strict import Items, Node, Table, Text, at

VERSION = "calibration/1"


def _version(node: Node) -> str:
    if not isinstance(node, Text) or node.value != VERSION:
        what = node.value if isinstance(node, Text) else ""
        of_ours = what.startswith("calibration/")
        hint = " (a file of another version: calibrate again)" if of_ours else did_you_mean(what, [VERSION])
        node.refuse(VERSION, hint)
    return node.value


_VERSION = Form(VERSION, _version, lambda: {"const": VERSION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTimes:
    """Of one server."""

    service: Annotated[Distribution, Key("service", DELAY)] = ZERO
    cpu: Annotated[Costs, Key("cpu", CPU)] = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimes:
    """Of all clients."""

    cpu: Annotated[Costs, Key("cpu", CLIENT_CPU)] = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Times and costs that were fitted to a recording."""

    version: Annotated[str, Key("palm", _VERSION)]
    links: Annotated[tuple[LinkBlock, ...], Key("links", LINKS)] = ()
    cores: Annotated[int | None, Key("cores", whole(1, 4096))] = None
    servers: Annotated[Mapping[str, ServerTimes], Key("servers", map_of(block_of(ServerTimes, "server")))] = field(
        default_factory=lambda: MappingProxyType({})
    )
    clients: Annotated[ClientTimes, Key("clients", block_of(ClientTimes, "clients"))] = ClientTimes()


def calibrated(root: Node) -> Node:
    """The scenario, with what the calibration that it names says of it; as it is where it names none. Raises
    ScenarioError."""
    if not isinstance(root, Table) or "calibration" not in root.entries:
        return root
    named = root.entries["calibration"]
    path = find_at(named, TEXT.read(named))
    fitted = yaml_strict.parse(yaml_strict.read_file(path), str(path))
    if isinstance(at(fitted, "palm"), Text):
        _version(at(fitted, "palm"))  # first: in a file of another version everything else may be otherwise
    take(fitted, Calibration, what="calibration")
    assert isinstance(fitted, Table), "it was taken as a mapping"
    servers = at(root, "world", "servers")
    ours, theirs = _entries(servers), _entries(at(fitted, "servers"))
    if theirs and isinstance(servers, Table) and not ours.keys() & theirs.keys():
        named.refuse(
            f"a calibration of a server of this scenario ({', '.join(ours)})", f": it is of {', '.join(theirs)}"
        )
    entries = dict(root.entries)
    if isinstance(links := fitted.entries.get("links"), Items):
        own = entries.get("links")
        if own is None:
            entries["links"] = links
        elif isinstance(own, Items):
            entries["links"] = Items((*links.items, *own.items), own.place)
    world = entries.get("world")
    if isinstance(world, Table):
        cores = {key: value for key, value in fitted.entries.items() if key == "cores"}
        hosts = {name: _filled(host, cores) for name, host in _entries(at(world, "hosts")).items()}
        filled = {name: _filled(server, _entries(theirs.get(name))) for name, server in ours.items()}
        entries["world"] = _with(_with(world, "hosts", hosts), "servers", filled)
    if isinstance(load := entries.get("load"), Items):
        clients = _entries(fitted.entries.get("clients"))
        entries["load"] = Items(tuple(_filled(job, clients) for job in load.items), load.place)
    return Table(entries, root.place)


def _entries(node: Node | None) -> Mapping[str, Node]:
    return node.entries if isinstance(node, Table) else {}


def _filled(node: Node, more: Mapping[str, Node]) -> Node:
    """With what it does not say itself. A host may be nothing at all."""
    if isinstance(node, Text) and node.kind == "null" and more:
        return Table(more, node.place)
    return Table({**more, **node.entries}, node.place) if isinstance(node, Table) else node


def _with(table: Table, key: str, entries: Mapping[str, Node]) -> Table:
    """With other entries in the mapping at `key`, if it is one."""
    inner = table.entries.get(key)
    if not isinstance(inner, Table):
        return table
    return Table({**table.entries, key: Table(entries, inner.place)}, table.place)
