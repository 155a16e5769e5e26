"""Links, and the rules by which a fault touches them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from palm.errors import BadRequest
from palm.sim.draws import Fixed, LogNormal, Uniform
from palm.sim.kernel import Kernel
from palm.sim.network import Action, Cut, Ends, Hold, Link, Lose, Network, Pipe, Shuffle, Slow, Throttle, Twice


class Wire:
    """Two hosts, a pipe between them, and what came out of it: (moment, item)."""

    def __init__(self, link: Link = Link(Fixed(1000)), seed: int = 7) -> None:
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel)
        for name, zone in (("a", "left"), ("b", "right"), ("c", "right")):
            self.network.add_host(name, zone)
        self.network.link(Ends("*", "*"), link)
        self.came: list[tuple[int, int]] = []
        self.pipe: Pipe[int] = self.network.pipe(("a", "a"), ("b", "b"), "pipe", self.take)

    def take(self, items: list[int]) -> None:
        self.pipe.taken(len(items))
        self.came += [(self.kernel.now, item) for item in items]

    def send(self, count: int, gap: int = 0, size: int = 1) -> None:
        for item in range(count):
            self.pipe.send(item, (bytes(size),))
            if gap:
                self.kernel.run(self.kernel.now + gap)

    @property
    def items(self) -> list[int]:
        return [item for _, item in self.came]


def test_delay_is_per_frame_and_order_is_kept() -> None:
    """Frames travel in parallel, and a quick one waits for a slow one ahead of it."""
    wire = Wire(Link(LogNormal(1_000_000, 50_000_000)))
    wire.send(500, gap=10_000)
    wire.kernel.run()
    moments = [moment for moment, _ in wire.came]
    assert wire.items == list(range(500))
    assert moments == sorted(moments) and moments[-1] < 500 * 1_000_000


def test_losing_a_frame_changes_no_other_frames_fate() -> None:
    """Draws are keyed by the ordinal of the send: without one frame, all others arrive when they did."""
    delay = Link(Uniform(1000, 2000))
    whole, holed = Wire(delay), Wire(delay)
    whole.send(100, gap=10_000)
    for item in range(100):
        rule = holed.network.cut("a", "b") if item == 50 else None
        holed.pipe.send(item, (b"x",))
        if rule is not None:
            holed.network.lift(rule)
        holed.kernel.run(holed.kernel.now + 10_000)
    whole.kernel.run()
    holed.kernel.run()
    assert holed.came == [(moment, item) for moment, item in whole.came if item != 50]


def test_loss_comes_by_its_chance_and_in_bursts() -> None:
    """`loss` is the chance that a burst begins; a burst takes that many frames in a row."""
    single = Wire(Link(Fixed(1000), loss=0.1))
    single.send(10_000)
    single.kernel.run()
    assert len(single.came) == pytest.approx(9_000, rel=0.02)
    burst = Wire(Link(Fixed(1000), loss=0.01, burst=5))
    burst.send(10_000)
    burst.kernel.run()
    missing = sorted(set(range(10_000)) - set(burst.items))
    runs = [n for n in missing if n - 1 not in missing]
    assert len(runs) > 20 and all(set(range(n, min(n + 5, 10_000))) <= set(missing) for n in runs)


def test_a_link_may_double_and_shuffle() -> None:
    """Doubled frames come a second time; shuffled ones leave their place, and none is lost."""
    wire = Wire(Link(Uniform(1000, 2000), twice=0.2, shuffle=0.2))
    wire.send(1000, gap=1000)
    wire.kernel.run()
    assert set(wire.items) == set(range(1000))
    assert len(wire.items) == pytest.approx(1200, abs=60)
    assert wire.items != sorted(wire.items)
    assert wire.pipe.in_flight == 0


def test_a_rate_makes_frames_queue_for_the_link() -> None:
    """Ten frames of 1,000 bytes at a million bytes a second leave one millisecond apart."""
    wire = Wire(Link(Fixed(0), rate=1_000_000))
    wire.send(10, size=1000)
    wire.kernel.run()
    assert [moment for moment, _ in wire.came] == [1_000_000 * n for n in range(1, 11)]


def test_later_links_win_and_zones_are_hosts() -> None:
    """The last link that matches rules; `zone:right` means every host in it; a host's link to itself is loopback."""
    network = Wire().network
    network.link(Ends("zone:left", "zone:right", both=True), Link(Fixed(5)))
    network.link(Ends("a", "c"), Link(Fixed(6)))
    delay: Callable[[str, str], int] = lambda src, dst: network.path(src, dst).link.delay.sample(0.5)  # noqa: E731
    assert (delay("a", "b"), delay("b", "a"), delay("a", "c"), delay("c", "a"), delay("b", "c")) == (5, 5, 6, 5, 1000)
    assert delay("a", "a") == 30_000


def test_a_cut_takes_what_is_sent_into_it_and_only_that() -> None:
    """A frame on its way when the link is cut arrives; those sent while it is cut are gone; later ones arrive."""
    wire = Wire()
    wire.send(1)
    rule = wire.network.cut("a", "b")
    assert wire.pipe.send(1, (b"",)) is False
    wire.network.lift(rule)
    assert wire.pipe.send(2, (b"",)) is True
    wire.kernel.run()
    assert wire.items == [0, 2] and rule.bitten == 1


def test_a_one_way_cut_leaves_the_other_way() -> None:
    """a -> b is cut, b -> a is not; heartbeats pass neither way, as they need both."""
    wire = Wire()
    back: list[int] = []
    pipe: Pipe[int] = wire.network.pipe(("b", "b"), ("a", "a"), "back", back.extend)
    wire.network.cut("a", "b", both=False)
    wire.send(1)
    pipe.send(1, (b"",))
    wire.kernel.run()
    assert not wire.came and back == [1]
    assert not wire.network.passes("a", "b") and not wire.network.passes("b", "a") and wire.network.passes("a", "c")


def test_held_frames_arrive_in_order_once_the_rule_is_lifted() -> None:
    """Nothing is lost, nothing arrives meanwhile, and what is sent afterwards comes after."""
    wire = Wire()
    rule = wire.network.lay(Ends("a", "b"), Hold())
    wire.send(5)
    wire.kernel.run(1_000_000)
    assert not wire.came and wire.pipe.in_flight == 5
    wire.network.lift(rule)
    wire.network.lift(rule)
    wire.pipe.send(5, (b"",))
    wire.kernel.run()
    assert wire.items == [0, 1, 2, 3, 4, 5] and rule.bitten == 5 and wire.came[0][0] == 1_001_000


@pytest.mark.parametrize(
    ("action", "came", "bitten"),
    [
        (Slow(Fixed(5000)), 1000, 1000),
        (Lose(0.5), 500, 500),
        (Twice(0.5), 1500, 500),
        (Shuffle(0.5), 1000, 500),
        (Throttle(1_000_000_000), 1000, 1000),
        (Slow(Fixed(0)), 1000, 0),
        (Lose(0.0), 1000, 0),
        (Cut(), 0, 1000),
    ],
)
def test_each_rule_counts_what_it_bit(action: Action, came: int, bitten: int) -> None:
    """A rule that touched a frame counts it; one that changed nothing counts nothing."""
    wire = Wire()
    rule = wire.network.lay(Ends("a", "b"), action)
    wire.send(1000)
    wire.kernel.run()
    assert len(wire.came) == pytest.approx(came, abs=60) and rule.bitten == pytest.approx(bitten, abs=60)


def test_two_rules_draw_apart() -> None:
    """Two rules that each lose half leave a quarter; lifting one leaves the other's choices as they were."""
    both, one = Wire(), Wire()
    for wire, names in ((both, ["x", "y"]), (one, ["y"])):
        for name in names:
            wire.network.lay(Ends("a", "b"), Lose(0.5), name)
        wire.send(1000)
        wire.kernel.run()
    assert len(both.items) == pytest.approx(250, abs=50)
    assert set(both.items) < set(one.items)


def test_a_closed_pipe_delivers_nothing() -> None:
    """What was on its way is lost with its link."""
    wire = Wire()
    wire.send(3)
    wire.pipe.closed = True
    wire.kernel.run()
    assert not wire.came


def test_heal_lifts_everything() -> None:
    """After it no rule lies, whatever was laid."""
    wire = Wire()
    wire.network.cut("a", "*")
    wire.network.lay(Ends("*", "b"), Hold())
    wire.network.heal()
    wire.send(1)
    wire.kernel.run()
    assert wire.items == [0] and wire.network.rules == ()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda network: network.cut("a", "bb"), r"no host is named 'bb'"),
        (lambda network: network.cut("zone:rigth", "a"), r"no host is in zone:rigth \(did you mean 'right'"),
        (lambda network: network.link(Ends("x", "y"), Link()), "no host is named 'x'"),
        (lambda network: network.add_host("a", "right"), "is in zone 'left', not in 'right'"),
        (lambda network: (network.cut("a", "b", name="n"), network.cut("a", "c", name="n")), "lies already"),
        (lambda network: Link(loss=1.5), "loss is a chance from 0 to 1, not 1.5"),
        (lambda network: Link(rate=0), "rate must be over 0"),
        (lambda network: Link(burst=0), "burst must be at least 1"),
        (lambda network: Throttle(0), "rate must be over 0"),
        (lambda network: Ends.parse("a - b"), "a link is written `a -> b`"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint: str) -> None:  # type: ignore[no-untyped-def]
    """Unknown hosts, chances over 1 and the like are a BadRequest that names them."""
    with pytest.raises(BadRequest, match=complaint):
        make(Wire().network)


def test_ends_are_read_from_text() -> None:
    """`a -> b` is one way, `zone:x <-> *` both."""
    assert Ends.parse("a -> b") == Ends("a", "b")
    assert Ends.parse(" zone:x<->* ") == Ends("zone:x", "*", both=True)
