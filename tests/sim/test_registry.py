"""The simulated registry in trouble; what it promises without it is in tests/conformance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from palm.errors import Compacted, Indefinite, LeaseLost, RegistryError, RegistryTimeout, RegistryUnavailable
from palm.ports.registry import Change, Compare, Put, Revision
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Lose
from palm.sim.world import World

S = NANOSECONDS


class Scene:
    """Two processes, `near` and `far`, and the registry that both use."""

    def __init__(self) -> None:
        self.world = World(7)
        self.kernel, self.network, self.server = self.world.kernel, self.world.network, self.world.registry
        self.near, self.far = self.world.host("near"), self.world.host("far")

    def do(self, coroutine: Any) -> Any:
        return self.kernel.complete(coroutine, self.kernel.now + 1000 * S)

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * S))

    def at(self, seconds: float, action: Callable[[], Any]) -> None:
        """Do it that long from now."""
        self.kernel.call_at(self.kernel.now + round(seconds * S), lambda: action() and None)

    def error(self, awaitable: Awaitable[Any]) -> tuple[RegistryError, float]:
        """What it raises, and after how many seconds."""
        began = self.kernel.now
        with pytest.raises(RegistryError) as caught:
            self.do(awaitable)
        return caught.value, (self.kernel.now - began) / S

    def watch(self, after: int = 0) -> list[tuple[str, int, float]]:
        """Follow "/k" from `far`: (value, revision, when), as it comes."""
        seen: list[tuple[str, int, float]] = []

        def note(change: Change) -> None:
            record = change.record
            seen.append((record.value.decode(), record.mod_revision, self.kernel.now / S))

        async def follow() -> None:
            async for changes in self.far.registry.watch("/k", Revision(after)):
                for change in changes:
                    note(change)

        self.far.spawn(follow(), "follow")
        self.run(0.1)
        return seen


def test_a_registry_that_is_down_is_unavailable_within_the_deadline() -> None:
    """Refused connections are tried again until the time is up, and nothing was applied."""
    scene = Scene()
    scene.server.down()
    for call in (scene.near.registry.put("/k", b"v"), scene.near.registry.get("/k"), scene.near.registry.grant(5)):
        error, seconds = scene.error(call)
        assert type(error) is RegistryUnavailable and "connection refused" in str(error) and 4.9 < seconds < 5.1
    error, seconds = scene.error(scene.near.registry.transact([], [Put(key="/k", value=b"v")]))
    assert type(error) is RegistryUnavailable and seconds < 5.1
    assert scene.server.etcd.revision == 1 and scene.server.bitten["down"] > 10


def test_a_registry_that_comes_back_in_time_is_not_noticed() -> None:
    """A put and a transaction that began while it was down are applied once it is up."""
    scene = Scene()
    scene.server.down()
    scene.at(2.0, scene.server.up)
    scene.do(scene.near.registry.put("/k", b"1"))
    scene.server.down()
    scene.run(0.1)
    scene.at(2.0, scene.server.up)
    scene.do(scene.near.registry.transact([], [Put(key="/k", value=b"2")]))
    (record,) = scene.do(scene.near.registry.get("/k")).records
    assert record.value == b"2" and record.version == 2


@pytest.mark.parametrize("ends", [("near", "registry"), ("registry", "near"), ("near", "*")])
def test_a_cut_is_a_timeout_for_those_who_were_connected(ends: tuple[str, str]) -> None:
    """The one who was connected cannot know: RegistryTimeout at the deadline; others go on."""
    scene = Scene()
    scene.do(scene.near.registry.put("/k", b"1"))
    rule = scene.network.cut(*ends)
    error, seconds = scene.error(scene.near.registry.put("/k", b"2"))
    assert type(error) is RegistryTimeout and 4.9 < seconds < 5.1 and rule.bitten >= 1
    scene.do(scene.far.registry.put("/k", b"3"))
    scene.network.heal()
    scene.do(scene.near.registry.put("/k", b"4"))


def test_a_lost_answer_makes_a_put_twice_and_a_transaction_indefinite() -> None:
    """Cut only on the way back: the put is repeated and has two revisions; the transaction happened, and says that it
    may have."""
    scene = Scene()
    scene.do(scene.near.registry.get("/k"))
    rule = scene.network.cut("registry", "near", both=False)
    scene.at(1.0, lambda: scene.network.lift(rule))
    scene.do(scene.near.registry.put("/k", b"twice"))
    (record,) = scene.do(scene.near.registry.get("/k")).records
    assert record.version == 2
    scene.network.cut("registry", "near", both=False)
    error, _ = scene.error(scene.near.registry.transact([], [Put(key="/t", value=b"once")]))
    scene.network.heal()
    assert type(error) is Indefinite
    assert [record.version for record in scene.do(scene.near.registry.get("/t")).records] == [1]


def test_unsure_applies_the_write_and_loses_its_answer() -> None:
    """The next write alone is touched, and that is counted."""
    scene = Scene()
    scene.do(scene.near.registry.get("/k"))
    scene.server.unsure()
    guard = Compare(key="/k", target="version", value=0)
    error, _ = scene.error(scene.near.registry.transact([guard], [Put(key="/k", value=b"mine")]))
    assert type(error) is Indefinite and scene.server.bitten == {"unsure": 1}
    assert not scene.do(scene.near.registry.transact([guard], [])).succeeded


def test_without_quorum_nothing_is_done_and_no_lease_ends() -> None:
    """However long it lasts; with a new leader each lease has its whole ttl again, and a second."""
    scene = Scene()
    lease = scene.do(scene.near.registry.grant(5))
    scene.do(scene.near.registry.put("/k", b"v", lease.id))
    scene.server.lose_quorum()
    error, _ = scene.error(scene.near.registry.get("/k"))
    assert isinstance(error, (RegistryTimeout, RegistryUnavailable)) and "no leader" in str(error)
    scene.run(60.0)
    scene.server.regain_quorum()
    scene.run(5.5)
    assert len(scene.do(scene.near.registry.get("/k")).records) == 1
    scene.run(1.0)
    assert len(scene.do(scene.near.registry.get("/k")).records) == 0


def test_a_restart_keeps_the_state_and_gives_leases_their_time_again() -> None:
    """Down before the lease ends and up after: the key is still there, for one more ttl and a second."""
    scene = Scene()
    lease = scene.do(scene.near.registry.grant(6))
    scene.do(scene.near.registry.put("/k", b"v", lease.id))
    scene.run(3.0)
    scene.server.down()
    scene.run(5.0)
    scene.server.up()
    scene.run(6.5)
    assert len(scene.do(scene.near.registry.get("/k")).records) == 1
    scene.run(1.0)
    assert len(scene.do(scene.near.registry.get("/k")).records) == 0


def test_a_change_of_leader_is_ridden_out() -> None:
    """Requests that fall into the election are answered after it."""
    scene = Scene()
    scene.server.change_leader()
    began = scene.kernel.now
    scene.do(scene.near.registry.put("/k", b"v"))
    assert 1.4 < (scene.kernel.now - began) / S < 3.0


def test_a_renewal_does_not_wait_longer_than_a_quarter_of_its_lease() -> None:
    """So that there is time for another before the lease ends."""
    scene = Scene()
    lease = scene.do(scene.near.registry.grant(8))
    scene.network.cut("near", "registry")
    error, seconds = scene.error(scene.near.registry.keep_alive(lease.id))
    assert type(error) is RegistryTimeout and 1.9 < seconds < 2.1


def test_an_expired_lease_is_lost() -> None:
    """`expire` ends one lease, as if nobody had renewed it."""
    scene = Scene()
    lease = scene.do(scene.near.registry.grant(5))
    scene.do(scene.near.registry.put("/k", b"v", lease.id))
    scene.server.expire(lease.id)
    assert not scene.do(scene.near.registry.get("/k")).records
    error, _ = scene.error(scene.near.registry.keep_alive(lease.id))
    assert type(error) is LeaseLost


@pytest.mark.parametrize("outage_s", [0.5, 3.0, 30.0])
@pytest.mark.parametrize("trouble", ["cut", "one way", "down", "quorum", "drop", "lose"])
def test_a_watch_misses_nothing_and_doubles_nothing(trouble: str, outage_s: float) -> None:
    """Whatever happens on its way, each revision comes once and in order, within 5 s of the end of the trouble."""
    scene = Scene()
    seen = scene.watch()
    begin: dict[str, Callable[[], Any]] = {
        "cut": lambda: scene.network.cut("far", "registry"),
        "one way": lambda: scene.network.cut("registry", "far", both=False),
        "down": scene.server.down,
        "quorum": scene.server.lose_quorum,
        "drop": scene.server.drop_watches,
        "lose": lambda: scene.network.lay(Ends("registry", "far"), Lose(0.3)),
    }
    end: dict[str, Callable[[], Any]] = {"down": scene.server.up, "quorum": scene.server.regain_quorum}
    revisions: list[int] = []

    async def write() -> None:
        for number in range(100):
            try:
                revisions.append(await scene.near.registry.put("/k", b"%d" % number))
            except RegistryError:
                pass
            await scene.near.sleep(S // 10)

    scene.at(2.0, begin[trouble])
    scene.at(2.0 + outage_s, end.get(trouble, scene.network.heal))
    scene.do(write())
    scene.run(max(0.0, outage_s + 2 - scene.kernel.now / S) + 5.0)
    came = [revision for _, revision, _ in seen]
    assert came == list(range(2, scene.server.etcd.revision + 1)), "a revision is missing, doubled or out of order"
    assert set(revisions) <= set(came) and len(revisions) > 50


def test_a_watch_that_lags_keeps_its_order_when_the_lag_ends() -> None:
    """What is late comes when the lag ends, and is not overtaken by what is said after that."""
    scene = Scene()
    seen = scene.watch()
    scene.server.lag_watch(2 * S)
    began = scene.kernel.now / S
    scene.do(scene.near.registry.put("/k", b"late"))
    scene.run(1.0)
    assert not seen
    scene.server.lag_watch(0)
    scene.do(scene.near.registry.put("/k", b"at once"))
    scene.run(0.5)
    assert [value for value, _, _ in seen] == ["late", "at once"] and 1 < seen[0][2] - began < 2
    assert scene.server.bitten["lag-watch"] >= 1


def test_a_watch_that_was_away_over_a_compaction_is_told() -> None:
    """It cannot go on, says so with the revision, and the listing has what it needs to go on."""
    scene = Scene()
    errors: list[RegistryError] = []

    async def follow() -> None:
        try:
            async for _ in scene.far.registry.watch("/k", Revision(0)):
                pass
        except RegistryError as error:
            errors.append(error)

    scene.do(scene.near.registry.put("/k", b"0"))
    scene.far.spawn(follow(), "follow")
    scene.run(1.0)
    rule = scene.network.cut("far", "registry")
    for number in range(10):
        scene.do(scene.near.registry.put("/k", b"%d" % number))
    scene.server.compact()
    scene.run(1.0)
    scene.network.lift(rule)
    scene.run(6.0)
    (error,) = errors
    assert isinstance(error, Compacted) and error.compact_revision == scene.server.etcd.revision


def test_a_quiet_watch_keeps_its_session() -> None:
    """An hour without a change costs a sign of life each two seconds, and no new stream."""
    scene = Scene()
    seen = scene.watch()
    streams = list(scene.server._streams)
    scene.run(3600.0)
    scene.do(scene.near.registry.put("/k", b"v"))
    scene.run(0.1)
    assert len(seen) == 1 and list(scene.server._streams) == streams


def test_the_dead_leave_no_streams_behind() -> None:
    """Crashed or closed, with the link cut or not, a client's watches end at the server."""
    scene = Scene()
    scene.watch()
    scene.network.cut("far", "registry")
    scene.far.crash()

    async def look_and_close() -> None:
        watch = scene.near.registry.watch("/k", Revision(0))
        scene.near.call_at(scene.near.now() + S, lambda: scene.near.spawn(scene.near.registry.aclose(), "close"))
        assert [changes async for changes in watch] == []

    scene.do(look_and_close())
    scene.run(20.0)
    assert not scene.server._streams and not scene.server._sessions


@pytest.mark.timeout(20)
def test_calls_beside_each_other_do_not_take_the_session_from_under_each_other() -> None:
    """Ten calls of one process over a link that loses half: each is answered or ends at its deadline."""
    scene = Scene()
    scene.network.lay(Ends("near", "registry", True), Lose(0.5))
    ended: list[float] = []

    async def ask() -> None:
        try:
            await scene.near.registry.get("/k/")
        except RegistryError:
            pass
        ended.append(scene.kernel.now / S)

    for number in range(10):
        scene.near.spawn(ask(), f"ask {number}")
    scene.run(10.0)
    assert len(ended) == 10 and max(ended) <= 5.1
