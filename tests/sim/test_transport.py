"""The simulated transport under faults; what it promises without them is in tests/conformance."""

from __future__ import annotations

import pytest

from palm.ports.transport import Arrival, Arrived, Frame, Peer, Undeliverable
from palm.sim.draws import Fixed
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Hold, Link
from palm.sim.transport import TransportSettings
from palm.sim.world import World

MS = NANOSECONDS // 1000


class Pair:
    """A server and a client that has dialed it, each on a host of its own; the link takes 1 ms."""

    def __init__(self, settings: TransportSettings = TransportSettings(connect_timeout_s=1.0)) -> None:
        self.world = World(7)
        self.kernel, self.network = self.world.kernel, self.world.network
        self.settings = settings
        self.server, self.client = self.start("server"), self.start("client")
        self.network.link(Ends("*", "*"), Link(Fixed(MS)))
        self.address = self.server.transport.bind()
        self.client.transport.connect(self.server.transport.peer, self.address)
        self.run(0.01)

    def start(self, name: str, listen: str | None = None) -> Host:
        host = self.world.host(name, settings=self.settings, listen=listen)
        inbox: list[Arrival] = []
        host.transport.start(inbox.extend)
        setattr(self, f"{name}_inbox", inbox)
        return host

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * NANOSECONDS))

    def ask(self, text: bytes) -> None:
        self.client.transport.send(self.server.transport.peer, (text,))

    def got(self, name: str, peer: Peer | None = None) -> list[bytes]:
        inbox: list[Arrival] = getattr(self, f"{name}_inbox")
        return [frame[0] for a in inbox if isinstance(a, Arrived) and peer in (None, a.peer) for frame in a.frames]

    def back(self, name: str, reason: str) -> list[bytes]:
        inbox: list[Arrival] = getattr(self, f"{name}_inbox")
        return [f[0] for a in inbox if isinstance(a, Undeliverable) and a.reason == reason for f in a.frames]


def test_a_short_cut_loses_frames_and_keeps_the_link() -> None:
    """Shorter than the heartbeat's patience: what was sent meanwhile is gone, the next frame arrives at once."""
    pair = Pair()
    rule = pair.network.cut("client", "server")
    pair.ask(b"lost")
    pair.run(1.4)
    pair.network.lift(rule)
    pair.ask(b"after")
    pair.run(0.002)
    assert pair.got("server") == [b"after"] and rule.bitten == 1


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("ends", [("client", "server"), ("server", "client")])
def test_a_long_cut_breaks_the_link_either_way(ends: tuple[str, str], both: bool) -> None:
    """Cut in either direction for longer than 2 s, the dialer finds its link down: what it sends then is held, comes
    back as unreachable after the connect timeout, and the one who was dialed no longer knows the dialer."""
    pair = Pair()
    pair.ask(b"hello")
    pair.run(0.01)
    rule = pair.network.cut(*ends, both=both)
    pair.run(2.0)
    start = pair.kernel.now
    pair.ask(b"held")
    pair.server.transport.send(pair.client.transport.peer, (b"whom?",))
    pair.run(0.99)
    assert not pair.back("client", "unreachable") and pair.back("server", "unknown") == [b"whom?"]
    pair.run(0.02)
    assert pair.back("client", "unreachable") == [b"held"] and pair.kernel.now - start > NANOSECONDS
    assert rule.bitten >= 1


def test_a_link_comes_back_by_itself_within_a_retry_of_the_heal() -> None:
    """100 ms and a round trip after the heal, what was held arrives in order."""
    pair = Pair()
    pair.network.cut("client", "server")
    pair.run(3.0)
    for text in (b"1", b"2", b"3"):
        pair.ask(text)
    pair.network.heal()
    pair.run(0.104)
    assert pair.got("server") == [b"1", b"2", b"3"] and not pair.back("client", "unreachable")


def test_a_link_that_is_down_costs_no_events() -> None:
    """A dead address that is dialed for an hour leaves the world idle."""
    pair = Pair()
    pair.server.crash()
    pair.run(1.0)
    before = pair.kernel.events
    pair.run(3600.0)
    assert pair.kernel.events - before <= 2


def test_a_crash_is_noticed_behind_the_data_that_was_on_its_way() -> None:
    """Frames sent just before the crash arrive; then the dialer's link is down, and what is sent is held."""
    pair = Pair()
    pair.ask(b"hello")
    pair.run(0.01)
    pair.server.transport.send(pair.client.transport.peer, (b"last words",))
    pair.server.crash()
    pair.ask(b"into the void")
    pair.run(0.01)
    pair.ask(b"held")
    pair.run(1.1)
    assert pair.got("client") == [b"last words"]
    assert pair.back("client", "unreachable") == [b"held"]


def test_a_restart_at_the_old_address_is_reached_by_the_old_link() -> None:
    """The dialer reconnects by itself; the new life has another id, and the link still bears the dialed one."""
    pair = Pair()
    old = pair.server.transport.peer
    pair.server.crash()
    server = pair.start("server", listen=pair.address)
    assert server.transport.bind() == pair.address and server.transport.peer != old and server.life == 1
    pair.run(0.2)
    pair.client.transport.send(old, (b"to whom it may concern",))
    pair.run(0.01)
    assert pair.got("server") == [b"to whom it may concern"]
    server.transport.send(pair.client.transport.peer, (b"me",))
    pair.run(0.01)
    assert pair.got("client", old) == [b"me"]


def test_a_frozen_receiver_gets_what_waited_when_it_thaws() -> None:
    """What arrived while it was frozen is read at the thaw, in order; a short freeze keeps the link."""
    pair = Pair()
    pair.ask(b"before")
    pair.run(0.01)
    pair.server.freeze()
    pair.ask(b"meanwhile")
    pair.run(1.0)
    assert pair.got("server") == [b"before"]
    pair.server.thaw()
    pair.ask(b"after")
    pair.run(0.01)
    assert pair.got("server") == [b"before", b"meanwhile", b"after"]


def test_a_frozen_receiver_fills_up_and_then_its_link_breaks() -> None:
    """Up to the high-water mark frames wait for it, the next come back as full; after 2 s of silence the link is
    down."""
    settings = TransportSettings(connect_timeout_s=1.0, high_water_frames=10)
    pair = Pair(settings)
    pair.server.freeze()
    for number in range(12):
        pair.ask(b"%d" % number)
    pair.run(0.1)
    assert pair.back("client", "full") == [b"10", b"11"]
    pair.run(2.0)
    pair.ask(b"held")
    pair.run(1.1)
    assert pair.back("client", "unreachable") == [b"held"]
    pair.server.thaw()
    pair.run(0.2)
    pair.ask(b"again")
    pair.run(0.01)
    assert pair.got("server") == [b"%d" % n for n in range(10)] + [b"again"]


def test_held_rules_fill_a_link_too() -> None:
    """A link that holds takes frames up to the mark, and no more."""
    pair = Pair(TransportSettings(high_water_frames=10))
    rule = pair.network.lay(Ends("client", "server"), Hold())
    for number in range(12):
        pair.ask(b"%d" % number)
    pair.run(1.0)
    assert pair.back("client", "full") == [b"10", b"11"] and not pair.got("server")
    pair.network.lift(rule)
    pair.run(0.01)
    assert pair.got("server") == [b"%d" % n for n in range(10)]


def test_a_dead_process_sends_nothing() -> None:
    """Neither its `send` nor what its links still held reaches anybody, nor comes back to anybody."""
    pair = Pair()
    peer = pair.server.transport.peer
    pair.client.crash()
    pair.client.transport.send(peer, (b"from beyond",))
    pair.run(3.0)
    assert not pair.got("server") and not pair.client_inbox  # type: ignore[attr-defined]  # set by `start`


def test_the_network_carries_bytes() -> None:
    """What arrives is equal, part by part, and made of bytes."""
    pair = Pair()
    frame: Frame = (b"envelope", b"payload")
    pair.client.transport.send(pair.server.transport.peer, frame)
    pair.run(0.01)
    (arrival,) = pair.server_inbox  # type: ignore[attr-defined]  # set by `start`
    assert arrival == Arrived(pair.client.transport.peer, [(b"envelope", b"payload")])
