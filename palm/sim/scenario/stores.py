"""The `stores` of a scenario: clients that use a server's store, one operation after another, and note when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from palm.sim.scenario.forms import DURATION, NAME, Key, block_of, list_of, whole

S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """Each of `clients` and `readers` (hosts; a process for each time that one is named) does `operations` on `keys`
    keys in turn: reads, sets, appends and deletes as they are drawn, with a `pause` between two."""

    id: Annotated[str, Key("id", NAME)]
    server: Annotated[str, Key("server", NAME)]
    clients: Annotated[tuple[str, ...], Key("clients", list_of(NAME, least=1))]
    readers: Annotated[tuple[str, ...], Key("readers", list_of(NAME))] = ()
    """Hosts of clients that only read."""
    operations: Annotated[int, Key("operations", whole(1, 1_000_000))]
    keys: Annotated[int, Key("keys", whole(1, 1_000))] = 2
    pause_ns: Annotated[int, Key("pause", DURATION)] = 0
    timeout_ns: Annotated[int, Key("timeout", DURATION)] = 20 * S
    """After it nobody knows whether the operation was done."""
    line: int = 0


STORES = list_of(block_of(StoreUse, "use of a store"))
