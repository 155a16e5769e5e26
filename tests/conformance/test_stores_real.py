"""The stores' conformance on server processes, ZeroMQ and a registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm import Client
from palm.core.store import Member
from palm.session import Open, Steps
from palm.wire.store import decode_store, store_key
from tests.conformance.stores import CHECKS, Check
from tests.support import keeping
from tests.support.cluster import Cluster, cluster, wait_until


@pytest.fixture(scope="module")
def served() -> Iterator[Cluster]:
    with cluster() as made:
        for name in ("Plain", "Parallel"):
            for _ in range(3):
                made.serve("--name", name.lower(), script=f"{keeping.__file__}:{name}")
        yield made


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_stores_on_processes(served: Cluster, check: Check) -> None:
    """The check holds."""
    with Client(served.endpoint, timeout=30) as client:
        check(client)


def test_what_was_written_is_there_after_all_were_killed(tmp_path: Path) -> None:
    """SIGKILL for every instance, and a start with the same `--db`."""
    options = ("--name", "kv", "--db", str(tmp_path))
    script = f"{keeping.__file__}:Plain"
    with cluster() as made, Client(made.endpoint, timeout=40) as client:
        running = [made.serve(*options, script=script) for _ in range(2)]
        store = client.store("kv")
        for number in range(50):
            store.append(b"%d," % number, "log")
        for one in running:
            one.kill()
        for _ in range(2):
            made.serve(*options, script=script)
        assert store.get("log") == b"".join(b"%d," % number for number in range(50))
        assert store.append(b"!", "log") == 141


def test_the_next_leader_has_what_the_killed_one_had_answered(tmp_path: Path) -> None:
    """In memory, with two instances left."""
    with cluster() as made, Client(made.endpoint, timeout=40) as client:
        running = {}
        for _ in range(3):
            one = made.serve("--name", "kv", script=f"{keeping.__file__}:Plain")
            running[one.pid] = one
        store = client.store("kv")
        written = [store.set(b"%d" % number) for number in range(20)]
        wait_until(lambda: len(copies(client)) == 3, 20, lambda: "not copied")
        leader = next(one for one in client.instances() if one.role == "keeper")
        running[leader.pid].kill()
        assert [store.get(key) for key in written] == [b"%d" % number for number in range(20)]


def copies(client: Client) -> tuple[Member, ...]:
    """Those that count, by the registry."""
    record = decode_store(client.perform(lambda open: _record(client, open)))
    return () if record is None else record.members


def _record(client: Client, open: Open) -> Steps[bytes]:
    engine = client.connect()

    async def read() -> bytes:
        listing = await engine.host.registry.get(store_key("palm", "kv"))
        return listing.records[0].value if listing.records else b""

    return (yield from client._session.run(open, read))
