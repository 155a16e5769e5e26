"""A client and two stages of two instances each, over a network and a registry that do as they like, and then heal.

The nodes talk in bytes, as in life; what they hear of each other's coming and going each hears in its own time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from palm.core.butterfly import ButterflyNode
from palm.core.client import MAX_DEATHS, ClientNode
from palm.core.effect import Abandon, Deliver, Demand, Dial, Effect, Ended, Follow, HangUp, Invoke, Send, Tell
from palm.core.event import (
    Bounced,
    Event,
    Finished,
    Heard,
    InstanceDown,
    InstanceUp,
    Listed,
    Offered,
    Opened,
    Received,
    SourceEnded,
    Taken,
)
from palm.core.message import Frame, Instance, JobId, Payload, Peer, Status
from palm.core.route import parse_route
from palm.core.server import ServerNode
from palm.observe.ledger import Ledger
from palm.testing.harness import NS, Harness
from palm.wire.codec import Codec
from palm.wire.control import encode_control
from tests.core.cast import CLIENT, instance_of

MESSAGES = 24
WINDOW = 10
ROUTE = parse_route(["one.f", "two.g"])
SERVERS = ("one", "two")


class Place:
    """One process: a node, its codec, what user code it runs, and what the registry still has to tell it."""

    def __init__(self, node: ServerNode | ButterflyNode | ClientNode, now: int) -> None:
        self.harness = Harness(node, now=now)
        self.codec = Codec()
        self.running: list[Invoke] = []
        self.abandoned: dict[JobId, None] = {}
        self.follows: list[str] = []
        self.news: list[Event] = []


class System(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.places: dict[Peer, Place] = {}
        self.alive: dict[Peer, Instance] = {}
        self.lives = 0
        self.deaths = dict.fromkeys(SERVERS, 0)
        self.wires: dict[tuple[Peer, Peer], list[Frame]] = {}
        self.results: dict[int, object] = {}
        self.demanded = 0
        self.offered = 0
        self.ended = False
        self.places[CLIENT] = Place(ClientNode(peer=CLIENT, incarnation=7), 0)

    @initialize()
    def begin(self) -> None:
        for server in SERVERS * 2:
            self.start(server)
        opened = Opened(
            number=1, route=ROUTE, window=WINDOW, window_bytes=1 << 20, deadline=None, at_most_once=False
        )
        self.post(CLIENT, opened)

    # -- the world ----------------------------------------------------------------------------------------------------

    def start(self, server: str) -> None:
        self.lives += 1
        instance = instance_of(server, self.lives)
        self.alive[instance.peer] = instance
        self.places[instance.peer] = Place(self.node_of(instance), self.now)
        self.tell(server, InstanceUp(instance))

    def node_of(self, instance: Instance) -> ServerNode | ButterflyNode:
        return ServerNode(
            peer=instance.peer, server=instance.server, functions=("f", "g"), max_in_flight=8, now=self.now
        )

    def tell(self, server: str, event: Event) -> None:
        for place in self.places.values():
            if server in place.follows:
                place.news.append(event)

    def post(self, at: Peer, event: Event) -> None:
        self.perform(at, self.places[at].harness.post(event))

    def perform(self, at: Peer, effects: list[Effect]) -> None:
        place = self.places[at]
        for effect in effects:
            match effect:
                case Send(peer, batch):
                    self.wires.setdefault((at, peer), []).extend(place.codec.encode([batch]))
                case Tell(peer, control):
                    self.wires.setdefault((at, peer), []).append((encode_control(control),))
                case HangUp(peer):
                    self.wires.pop((at, peer), None)
                case Follow(server):
                    place.follows.append(server)
                    place.news += [InstanceUp(i) for i in self.alive.values() if i.server == server]
                    place.news.append(Listed(server))
                case Invoke():
                    place.running.append(effect)
                case Abandon(job):
                    place.abandoned[job] = None
                case Demand(_, count):
                    self.demanded += count
                case Deliver(_, sequences, payloads, statuses):
                    self.deliver(sequences, payloads, statuses or [Status.OK] * len(sequences))
                case Ended(_, error):
                    assert error is None and not self.ended
                    self.ended = True
                case Dial():
                    pass

    def deliver(self, sequences: list[int], payloads: list[Payload], statuses: list[int]) -> None:
        for sequence, payload, status in zip(sequences, payloads, statuses, strict=True):
            assert sequence not in self.results, "delivered twice"
            assert status == Status.OK, f"message {sequence} ended as {Status(status).name}"
            assert payload == b"g(f(%d))" % sequence
            self.results[sequence] = payload
        size = sum(len(payload) for payload in payloads if isinstance(payload, bytes))
        self.post(CLIENT, Taken(1, len(sequences), len(sequences), size))

    def arrive(self, src: Peer, dst: Peer, frame: Frame) -> None:
        place = self.places.get(dst)
        if place is None:
            return
        said = place.codec.decode(frame)
        if isinstance(said, list):
            for batch in said:
                self.post(dst, Received(src, batch))
        else:
            self.post(dst, Heard(src, said))

    def run(self, at: Peer, invoke: Invoke, only: list[int]) -> None:
        """User code ends for some items of an invocation."""
        place, header = self.places[at], invoke.batch.header
        function = header.target.function.encode()
        rows = [(s, p) for s, p in zip(invoke.batch.sequences, invoke.batch.payloads, strict=True) if s in only]
        dropped = header.job in place.abandoned
        rest = [s for s in invoke.batch.sequences if s not in only]
        place.running.remove(invoke)
        if rest:
            keep = [invoke.batch.sequences.index(s) for s in rest]
            invoke.batch.payloads = [invoke.batch.payloads[i] for i in keep]
            invoke.batch.sequences = rest
            place.running.append(invoke)
        assert all(isinstance(payload, bytes) for _, payload in rows)
        payloads = [b"%b(%b)" % (function, payload) for _, payload in rows if isinstance(payload, bytes)]
        statuses = [int(Status.CANCELLED)] * len(rows) if dropped else None
        self.post(at, Finished(invoke.ticket, [sequence for sequence, _ in rows], list(payloads), statuses))

    # -- what happens -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.demanded)
    @rule(count=st.integers(1, WINDOW))
    def offer(self, count: int) -> None:
        count = min(count, self.demanded, MESSAGES - self.offered)
        if count:
            first = self.offered
            self.demanded -= count
            self.offered += count
            self.post(CLIENT, Offered(1, [b"%d" % sequence for sequence in range(first, first + count)]))

    @precondition(lambda self: any(self.wires.values()))
    @rule(data=st.data(), fate=st.sampled_from(["arrive"] * 6 + ["overtake", "lose", "double", "bounce"]))
    def frame(self, data: st.DataObject, fate: str) -> None:
        src, dst = data.draw(st.sampled_from(sorted(wire for wire, frames in self.wires.items() if frames)))
        frames = self.wires[src, dst]
        if fate == "double":
            frames.append(frames[0])
        frame = frames.pop(data.draw(st.integers(0, len(frames) - 1)) if fate == "overtake" else 0)
        if fate == "bounce" and src in self.places:
            said = self.places[src].codec.decode(frame)
            for batch in said if isinstance(said, list) else []:
                self.post(src, Bounced(dst, batch, "unreachable"))
        elif fate != "lose":
            self.arrive(src, dst, frame)

    @rule(rounds=st.integers(1, 3))
    def quiet(self, rounds: int) -> None:
        """All goes well for a moment."""
        for _ in range(rounds):
            self.hear()
            self.carry()
            self.work()

    @precondition(lambda self: any(place.running for place in self.places.values()))
    @rule(data=st.data())
    def user_code(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(sorted(peer for peer, place in self.places.items() if place.running)))
        invoke = data.draw(st.sampled_from(self.places[at].running))
        self.run(at, invoke, data.draw(st.lists(st.sampled_from(invoke.batch.sequences), min_size=1, unique=True)))

    @precondition(lambda self: any(place.news for place in self.places.values()))
    @rule(data=st.data())
    def news(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(sorted(peer for peer, place in self.places.items() if place.news)))
        self.post(at, self.places[at].news.pop(0))

    @rule(seconds=st.sampled_from([0.01, 0.5, 0.5, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += round(seconds * NS)
        for peer, place in list(self.places.items()):
            # In small steps, as an idle process would: nobody oversleeps.
            self.perform(peer, place.harness.advance(ns=self.now - place.harness.now))

    @rule(server=st.sampled_from(SERVERS), which=st.integers(0, 1), again=st.booleans())
    def die(self, server: str, which: int, again: bool) -> None:
        """An instance dies with all it held, and perhaps another takes its place."""
        here = [peer for peer, instance in self.alive.items() if instance.server == server]
        if which < len(here) and self.deaths[server] < MAX_DEATHS - 1:
            peer = here[which]
            self.deaths[server] += 1
            del self.alive[peer], self.places[peer]
            self.wires = {ends: frames for ends, frames in self.wires.items() if peer not in ends}
            self.tell(server, InstanceDown(server, peer))
        if again and len(here) < 3:
            self.start(server)

    @invariant()
    def the_ledger_adds_up(self) -> None:
        node = self.places[CLIENT].harness.node
        assert isinstance(node, ClientNode)
        if 1 in node.jobs:
            job = node.jobs[1]
            assert job.sent == self.offered and len(job.rows) + len(self.results) == self.offered
            counts = Ledger(job.sent, job.ends.delivered, 0, 0, 0, job.in_flight)
            assert counts.adds_up and len(job.rows) + job.untaken + job.demanded <= WINDOW

    # -- healed -------------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        for peer in list(self.places):
            self.hear_at(peer)

    def hear_at(self, peer: Peer) -> None:
        news = self.places[peer].news
        while news:
            self.post(peer, news.pop(0))

    def carry(self) -> None:
        for ends in sorted(self.wires):
            frames, self.wires[ends] = self.wires.get(ends, []), []
            for frame in frames:
                self.arrive(*ends, frame)

    def work(self) -> None:
        for peer, place in list(self.places.items()):
            for invoke in list(place.running):
                self.run(peer, invoke, list(invoke.batch.sequences))

    def teardown(self) -> None:
        """Everybody is back, nothing more is lost: every message arrives, once, and nothing is left behind."""
        if not self.alive:
            return  # it never began
        for server in SERVERS:
            if not any(instance.server == server for instance in self.alive.values()):
                self.start(server)
        for _ in range(400):
            for _ in range(4):
                self.quiet(1)
                if self.demanded and self.offered < MESSAGES:
                    self.offer(WINDOW)
            if len(self.results) == MESSAGES:
                break
            self.wait(0.5)
        assert sorted(self.results) == list(range(MESSAGES))
        self.post(CLIENT, SourceEnded(1))
        assert self.ended
        for _ in range(4):
            self.wait(0.5)
            self.quiet(2)
        for peer in self.alive:
            node = self.places[peer].harness.node
            assert not isinstance(node, ClientNode)
            assert node.held() == [] and node.in_flight == 0, f"{peer} {node.held()}"


TestSystem = System.TestCase
TestSystem.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
