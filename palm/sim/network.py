"""The simulated network: hosts, the links between them, and the rules by which a fault touches a link.

A *pipe* is one direction of one connection. Each frame sent on it meets first the rules (faults) and then the link's
own model, with draws keyed by (seed, pipe, ordinal of the send), so that losing one frame changes no other one's
fate. Delay is per frame, in parallel; order is kept within a pipe unless a frame is shuffled. Bytes go in and the
same bytes come out.

What a cut does: frames that are sent into it are gone, frames already on their way arrive. It acts where the sender
hands over, as PALM's shim on real processes does. A connection that a cut leaves silent for longer than the heartbeat
of ZeroMQ is broken; `palm.sim.transport` sees to that, as connections are its business. This file knows no transport
and no node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from palm.errors import BadRequest, did_you_mean
from palm.sim.draws import Fixed, Key
from palm.sim.kernel import NANOSECONDS, Clock
from palm.sim.rules import Action as Action
from palm.sim.rules import Cut as Cut
from palm.sim.rules import Ends as Ends
from palm.sim.rules import Fate as Fate
from palm.sim.rules import Hold as Hold
from palm.sim.rules import Link as Link
from palm.sim.rules import Lose as Lose
from palm.sim.rules import Shuffle as Shuffle
from palm.sim.rules import Slow as Slow
from palm.sim.rules import Throttle as Throttle
from palm.sim.rules import Twice as Twice

T = TypeVar("T")

LOOPBACK = Fixed(30_000)
"""Between two processes of one host: about half of a measured round trip on one machine. No rule touches it."""

_DISPLACED_BY_AT_LEAST = 1_000_000  # ns; so that a shuffled or doubled frame leaves its place on a fast link too
_SECOND_DRAW = 1 << 63  # set in an ordinal: a draw of its own for the few frames that need one more


@dataclass(eq=False, slots=True)
class Rule:
    """An action on some links, from when it was laid until it is lifted. `bitten` counts the frames that it touched,
    and the connections that it broke or kept from coming up: a fault that bit nothing proves nothing."""

    name: str
    ends: Ends
    action: Action
    bitten: int = 0
    active: bool = True
    _held: list[Callable[[], None]] = field(default_factory=list)


class Path:
    """One direction between two hosts: its link model, and the rules that lie on it at present."""

    __slots__ = ("_network", "_version", "busy_until", "cuts", "dst", "link", "rules", "src")

    def __init__(self, network: Network, src: str, dst: str) -> None:
        self._network = network
        self.src = src
        self.dst = dst
        self.busy_until = 0
        self.rules: tuple[Rule, ...] = ()
        self.cuts: tuple[Rule, ...] = ()
        self.link = Link()
        self._version = -1
        self.refresh()

    def refresh(self) -> None:
        """Look up the link and the rules anew, if any have changed."""
        network = self._network
        if self._version != network.version:
            self._version = network.version
            self.link = network.link_between(self.src, self.dst)
            self.rules = network.rules_between(self.src, self.dst)
            self.cuts = tuple(rule for rule in self.rules if type(rule.action) is Cut)


class Observer(Protocol):
    """Sees every frame that is given to the network, and changes nothing."""

    def frame(self, pipe: Pipe[Any], now: int, fate: str, arrival: int, parts: tuple[bytes, ...]) -> None:
        """`fate` is `sent` (it sets out, to be there at `arrival`), `held`, or why it is lost."""

    def missed(self, pipe: Pipe[Any], now: int) -> None:
        """What was to arrive on this pipe now does not: the pipe is closed."""


class Pipe(Generic[T]):
    """One direction of one connection: carries items in order, each with the bytes that stand for it on the wire.

    `deliver` is called with what arrives at one moment. `in_flight` counts the items that were sent, not lost, and not
    `taken` by the receiver: the sender compares it with its high-water mark.
    """

    __slots__ = (
        "_batch",
        "_batch_at",
        "_burst",
        "_deliver",
        "_key",
        "_last_arrival",
        "_network",
        "_rule_keys",
        "closed",
        "dst",
        "in_flight",
        "name",
        "ordinal",
        "path",
        "src",
    )

    def __init__(
        self, network: Network, path: Path, name: str, src: str, dst: str, deliver: Callable[[list[T]], None]
    ) -> None:
        self._network = network
        self._deliver = deliver
        self._key = Key(network.kernel.seed, name)
        self._rule_keys: dict[str, Key] | None = None
        self._batch: list[T] = []
        self._batch_at = -1
        self._last_arrival = 0
        self._burst = 0
        self.path = path
        self.name = name
        self.src = src
        self.dst = dst
        self.ordinal = 0
        self.in_flight = 0
        self.closed = False

    def send(self, item: T, parts: tuple[bytes, ...]) -> bool:
        """Give one item to the network; False when it is certain, to us, that it will not arrive."""
        path, kernel = self.path, self._network.kernel
        path.refresh()
        link = path.link
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        loss, delay, twice, shuffle = self._key.four(ordinal)
        fate = Fate(link.delay.sample(delay), link.rate)
        if path.rules:
            self._meet_rules(fate, ordinal)
        if not fate.lost and link.loss:
            self._meet_loss(fate, loss)
        if fate.lost:
            kernel.trace.record(self.src, self.dst, fate.lost, *parts)
            self._show(fate.lost, kernel.now, parts)
            return False
        if twice < link.twice:
            fate.copies += 1
        if shuffle < link.shuffle:
            fate.shuffled = True
        if fate.rate is not None:
            fate.size = sum(map(len, parts))
            waits = (path.busy_until - kernel.now) * fate.rate // NANOSECONDS
            if link.queue is not None and waits > link.queue:
                kernel.trace.record(self.src, self.dst, "overflow", *parts)
                return False
        if fate.shuffled:
            fate.delay += self._displacement(ordinal, fate.delay)
        for _ in range(fate.copies):
            self.in_flight += 1
            if fate.held_by is not None:
                kernel.trace.record(self.src, self.dst, "held", *parts)
                self._show("held", kernel.now, parts)
                fate.held_by._held.append(partial(self._set_out, item, parts, fate.delay, fate))
            else:
                self._set_out(item, parts, fate.delay, fate)
            if fate.copies > 1:
                fate.delay += self._displacement(ordinal, fate.delay)
        return True

    def taken(self, count: int) -> None:
        """The receiver has read `count` items."""
        self.in_flight -= count

    def after_all(self, callback: Callable[[], None], delay: int) -> None:
        """Call it `delay` from now, but not before what was sent has arrived: how the end of a stream travels."""
        at = max(self._network.kernel.now + delay, self._last_arrival)
        self._batch_at = -1
        self._last_arrival = at
        self._network.kernel.call_at(at, callback)

    def _meet_rules(self, fate: Fate, ordinal: int) -> None:
        if self._rule_keys is None:
            self._rule_keys = {}
        for rule in self.path.rules:
            key = self._rule_keys.get(rule.name)
            if key is None:
                key = self._rule_keys[rule.name] = Key(self._network.kernel.seed, f"{self.name}/{rule.name}")
            if rule.action.apply(fate, key.unit(ordinal)):
                rule.bitten += 1
                if type(rule.action) is Hold:
                    fate.held_by = rule
            if fate.lost:
                return

    def _meet_loss(self, fate: Fate, draw: float) -> None:
        if self._burst > 0:
            self._burst -= 1
            fate.lost = "lost"
        elif draw < self.path.link.loss:
            self._burst = self.path.link.burst - 1
            fate.lost = "lost"

    def _displacement(self, ordinal: int, delay: int) -> int:
        return int(self._key.unit(ordinal | _SECOND_DRAW) * max(2 * delay, _DISPLACED_BY_AT_LEAST))

    def _set_out(self, item: T, parts: tuple[bytes, ...], delay: int, fate: Fate) -> None:
        if self.closed:
            return
        kernel = self._network.kernel
        leaves = kernel.now
        if fate.rate is not None:
            leaves = max(leaves, self.path.busy_until) + fate.size * NANOSECONDS // fate.rate
            self.path.busy_until = leaves
        arrival = leaves + delay
        kernel.trace.record(self.src, self.dst, "sent", *parts)
        if fate.shuffled:
            self._show("sent", arrival, parts)
            kernel.call_at(arrival, partial(self._arrive, [item]))
            return
        behind = arrival <= self._last_arrival
        arrival = max(arrival, self._last_arrival)
        self._show("sent", arrival, parts)
        if behind and arrival == self._batch_at and arrival > kernel.now:
            # Behind a slower one: it is read in the same go, as a stream does.
            self._batch.append(item)
            return
        self._last_arrival = self._batch_at = arrival
        self._batch = [item]
        kernel.call_at(arrival, partial(self._arrive, self._batch))

    def _arrive(self, items: list[T]) -> None:
        if not self.closed:
            self._deliver(items)
        elif self._network.observer is not None:
            self._network.observer.missed(self, self._network.kernel.now)

    def _show(self, fate: str, arrival: int, parts: tuple[bytes, ...]) -> None:
        observer = self._network.observer
        if observer is not None:
            observer.frame(self, self._network.kernel.now, fate, arrival, parts)


class Network:
    """All hosts, links and rules of one world."""

    def __init__(self, kernel: Clock) -> None:
        self.kernel = kernel
        self.observer: Observer | None = None
        self.version = 0
        self.loopback = Link(LOOPBACK)
        """Between two processes of one host. Say it before anything runs."""
        self._zones: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self._links: list[tuple[Ends, Link]] = []
        self._rules: dict[str, Rule] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        self._listeners: dict[object, Callable[[], None]] = {}
        self._rules_laid = 0

    # -- who is there --------------------------------------------------------------------------------------------

    def add_host(self, name: str, zone: str = "", part_of: str = "") -> None:
        """Make a host known. Adding it again may only say the same. `part_of`: a name for several hosts, which can be
        an end of a link as theirs can; what they say to each other is then meant only by links that name both ends."""
        if self._zones.setdefault(name, zone) != zone:
            raise BadRequest(f"host {name!r} is in zone {self._zones[name]!r}, not in {zone!r}")
        if part_of:
            self._parts[name] = part_of

    def knows(self, name: str) -> bool:
        """Whether a host of that name was added."""
        return name in self._zones

    @property
    def hosts(self) -> dict[str, str]:
        """Each host's name and its zone, in the order they were added."""
        return dict(self._zones)

    def path(self, src: str, dst: str) -> Path:
        """One direction between two known hosts."""
        path = self._paths.get((src, dst))
        if path is None:
            for name in (src, dst):
                self._check_host(name)
            path = self._paths[src, dst] = Path(self, src, dst)
        path.refresh()
        return path

    def pipe(
        self, src: tuple[str, str], dst: tuple[str, str], name: str, deliver: Callable[[list[T]], None]
    ) -> Pipe[T]:
        """A new pipe. Ends are (host, process); `name` keys its draws and must be no other pipe's."""
        return Pipe(self, self.path(src[0], dst[0]), name, src[1], dst[1], deliver)

    # -- how they are connected ----------------------------------------------------------------------------------

    def link(self, ends: Ends, link: Link) -> None:
        """Say how links behave; what is said later wins."""
        self._check_ends(ends)
        self._links.append((ends, link))
        self.version += 1

    def lay(self, ends: Ends, action: Action, name: str = "") -> Rule:
        """Lay a rule on links, from now until it is lifted. `name` keys its draws, and is by default its number."""
        self._check_ends(ends)
        self._rules_laid += 1
        name = name or f"rule-{self._rules_laid}"
        if name in self._rules:
            raise BadRequest(f"a rule named {name!r} lies already")
        rule = self._rules[name] = Rule(name=name, ends=ends, action=action)
        self.kernel.trace.record(ends.src, ends.dst, f"rule {name} {action!r}")
        self._changed()
        return rule

    def lift(self, rule: Rule) -> None:
        """End a rule. What it held sets out now, in the order in which it was sent. Harmless when lifted before."""
        if not rule.active:
            return
        rule.active = False
        del self._rules[rule.name]
        self.kernel.trace.record(rule.ends.src, rule.ends.dst, f"lifted {rule.name}")
        self._changed()
        held, rule._held = rule._held, []
        for set_out in held:
            set_out()

    def cut(self, src: str, dst: str, *, both: bool = True, name: str = "") -> Rule:
        """`lay` a Cut, in both directions unless told otherwise."""
        return self.lay(Ends(src, dst, both), Cut(), name)

    def heal(self) -> None:
        """Lift every rule."""
        for rule in list(self._rules.values()):
            self.lift(rule)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those that lie now, oldest first."""
        return tuple(self._rules.values())

    def passes(self, src: str, dst: str) -> bool:
        """Both directions between two hosts are open: heartbeats and handshakes need both."""
        return not self.path(src, dst).cuts and not self.path(dst, src).cuts

    def blame(self, src: str, dst: str) -> None:
        """Count one bite for every cut between two hosts: it broke a connection, or kept one from coming up."""
        for path in (self.path(src, dst), self.path(dst, src)):
            for rule in path.cuts:
                rule.bitten += 1

    def on_change(self, owner: object, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever a rule was laid or lifted, until it is set to None."""
        if listener is None:
            self._listeners.pop(owner, None)
        else:
            self._listeners[owner] = listener

    # -- for paths -----------------------------------------------------------------------------------------------

    def link_between(self, src: str, dst: str) -> Link:
        if src == dst:
            return self.loopback
        for ends, link in reversed(self._links):
            if self.meant(ends, src, dst):
                return link
        return Link()

    def rules_between(self, src: str, dst: str) -> tuple[Rule, ...]:
        if src == dst:
            return ()
        return tuple(rule for rule in self._rules.values() if self.meant(rule.ends, src, dst))

    def meant(self, ends: Ends, src: str, dst: str) -> bool:
        """Whether `ends` means the direction from `src` to `dst`."""
        if src in self._parts and self._parts[src] == self._parts.get(dst) and "*" in (ends.src, ends.dst):
            return False
        if self._matches(ends.src, src) and self._matches(ends.dst, dst):
            return True
        return ends.both and self._matches(ends.src, dst) and self._matches(ends.dst, src)

    def _matches(self, pattern: str, host: str) -> bool:
        if pattern in ("*", host) or pattern == self._parts.get(host):
            return True
        return pattern.startswith("zone:") and self._zones[host] == pattern[5:]

    def _changed(self) -> None:
        self.version += 1
        for listener in list(self._listeners.values()):
            listener()

    def _check_ends(self, ends: Ends) -> None:
        for pattern in (ends.src, ends.dst):
            if pattern.startswith("zone:"):
                zones = list(self._zones.values())
                if pattern[5:] not in zones:
                    raise BadRequest(f"no host is in {pattern}{did_you_mean(pattern[5:], zones)}")
            elif pattern != "*" and pattern not in self._parts.values():
                self._check_host(pattern)

    def _check_host(self, name: str) -> None:
        if name not in self._zones:
            raise BadRequest(f"no host is named {name!r}{did_you_mean(name, self._zones)}")
