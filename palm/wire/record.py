"""Registry keys and records: how an instance shows itself in etcd, as JSON that `etcdctl get` makes readable.

Reading is strict: whatever is garbage, too large, or says another name than its key is None, for the caller to count
and pass over.
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from palm.core.message import Instance, Peer, Role
from palm.core.names import is_name
from palm.wire.codec import is_peer

MAX_RECORD_BYTES = 4 * 1024
_ADDRESS = re.compile(r"(?:tcp|sim)://[!-~]+:[0-9]{1,5}")


def cluster_prefix(cluster: str) -> str:
    return f"/palm/{cluster}/"


def instances_prefix(cluster: str, server: str | None = None) -> str:
    """Where the instances of one server are, or of all. Ends with `/`, so that `one` does not find `one2`."""
    return f"/palm/{cluster}/instances/" + (f"{server}/" if server is not None else "")


def instance_key(cluster: str, server: str, peer: Peer) -> str:
    return f"{instances_prefix(cluster, server)}{peer}"


def leader_key(cluster: str, server: str) -> str:
    """Held by the leader of a parallel server, under its lease; created by its election, whose revision is the term."""
    return f"/palm/{cluster}/leaders/{server}"


def kind_key(cluster: str, server: str) -> str:
    """Holds the kind of all instances of a server. Written with each of their records, under the same lease."""
    return f"/palm/{cluster}/kinds/{server}"


def client_key(cluster: str, peer: Peer) -> str:
    return f"/palm/{cluster}/clients/{peer}"


def encode_instance(instance: Instance) -> bytes:
    record: dict[str, object] = {
        "server": instance.server,
        "peer": instance.peer,
        "address": instance.address,
        "functions": list(instance.functions),
        "kind": instance.kind,
        "host": instance.host,
        "pid": instance.pid,
        "started_ms": instance.started_ms,
        "draining": instance.draining,
        "protocol": instance.protocol,
    }
    if instance.role:
        record |= {"role": instance.role, "term": instance.term}
    if instance.once:
        record |= {"once": list(instance.once)}
    if instance.join:
        record["join"] = instance.join
    if instance.outputs:
        record["outputs"] = {function: list(names) for function, names in instance.outputs}
    if instance.every:
        record["every"] = instance.every
    return json.dumps(record, separators=(",", ":")).encode()


def encode_client(name: str, host: str) -> bytes:
    return json.dumps({"name": name, "host": host}, separators=(",", ":")).encode()


def decode_instance(key: str, value: bytes) -> Instance | None:
    """The instance that a record shows, or None where it is not to be believed."""
    parts = key.split("/")
    if len(value) > MAX_RECORD_BYTES or len(parts) != 6 or parts[1] != "palm" or parts[3] != "instances":
        return None
    try:
        record: Any = json.loads(value)
        instance = Instance(
            server=record["server"],
            peer=Peer(parts[5] if record["peer"] == parts[5] else ""),
            address=record["address"],
            functions=tuple(record["functions"]),
            kind=str(record.get("kind", "")),
            host=str(record.get("host", "")),
            pid=int(record.get("pid", 0)),
            started_ms=int(record.get("started_ms", 0)),
            draining=bool(record.get("draining", False)),
            protocol=int(record.get("protocol", 1)),
            role=_role(record.get("role", "")),
            term=_number(record.get("term", 0)),
            once=tuple(record.get("once", ())),
            join=str(record.get("join", "")),
            outputs=_outputs(record.get("outputs", {})),
            every=_number(record.get("every", 0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    if instance.server != parts[4] or instance.peer != parts[5] or not is_name(instance.server):
        return None
    if not is_peer(instance.peer):
        return None
    if not isinstance(record["functions"], list) or not all(map(is_name, instance.functions)):
        return None
    if not isinstance(record.get("once", []), list) or not all(map(is_name, instance.once)):
        return None
    if not isinstance(instance.address, str) or _ADDRESS.fullmatch(instance.address) is None:
        return None
    return instance


def _number(said: object) -> int:
    """A revision, or a count. Raises ValueError for what is none: a leader of the highest term is believed before all
    others."""
    if not isinstance(said, int) or not 0 <= said < 2**63:
        raise ValueError(f"{said!r:.80} is no term, and no count")
    return said


def _outputs(said: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Raises ValueError where names are no names."""
    outputs = tuple((function, tuple(names)) for function, names in said.items())
    if not all(is_name(function) and all(map(is_name, names)) for function, names in outputs):
        raise ValueError(f"{said!r:.200} are no outputs")
    return outputs


def _role(said: object) -> Role:
    """Raises ValueError for a role that this release does not know."""
    for role in get_args(Role):
        if said == role:
            known: Role = role
            return known
    raise ValueError(f"{said!r:.80} is no role")
