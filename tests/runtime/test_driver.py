"""The driver: what goes to one peer at one moment goes together, and everything that happens becomes an event."""

from __future__ import annotations

from collections.abc import Callable

from palm.core.effect import Dial, Effect, Follow, HangUp, Invoke, Send, Tell
from palm.core.event import Bounced, DrainAsked, Event, Heard, Listed, Malformed, Received, SourceEnded, Tick
from palm.core.message import Batch, Control, Failure, Frame, Header, JobId, Over, Peer, Ping, Status, Welcome
from palm.core.route import parse_route
from palm.ports.transport import Arrival, Arrived
from palm.runtime import drive
from palm.runtime.drive import Driver
from palm.sim.draws import Fixed
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Link
from palm.sim.world import World
from palm.testing.harness import Item, items
from palm.wire.codec import MAX_ITEMS, Codec, decode_failure
from palm.wire.frame import Body, pack
from tests.support.twin import twin

S = NANOSECONDS
HEADER = Header(JobId(Peer("client-000000000"), 7, 1), parse_route(["one.f", "two.g"]), 0)
OTHER = HEADER.at(1)


class Told:
    """A node that does as the test says: `then` is asked for the effects of each event. Time is what it is given."""

    def __init__(self, then: Callable[[Event], list[Effect]]) -> None:
        self.deadline: int | None = None
        self.seen: list[tuple[int, Event]] = []
        self._then = then

    def handle(self, event: Event, now: int) -> list[Effect]:
        self.seen.append((now, event))
        if isinstance(event, Tick):
            self.deadline = None
        return self._then(event)

    def events(self, kind: type[Event]) -> list[Event]:
        return [event for _, event in self.seen if isinstance(event, kind)]


class Scene:
    """A node under its driver, with links to `near` and `far`, whose frames are kept as they come."""

    def __init__(self) -> None:
        self.world = World(7)
        self.kernel = self.world.kernel
        self.host = self.world.host("me")
        self.world.network.link(Ends("*", "*"), Link(Fixed(1_000_000)))
        self.frames: dict[Peer, list[Frame]] = {}
        self.heard: list[Control | Batch] = []
        self.near, self.far = self.neighbour("near"), self.neighbour("far")
        self.answers: list[list[Effect]] = []
        self.own: list[Effect] = []
        self.node = Told(lambda event: self.answers.pop(0) if self.answers else [])
        self.driver = Driver(self.host, self.node, self.own.append)
        self.driver.start()
        self.do(*(Dial(host.transport.peer, host.transport.bind()) for host in (self.near, self.far)))
        self.run(0.1)
        self.node.seen.clear()

    def neighbour(self, name: str) -> Host:
        host, codec = self.world.host(name), Codec()
        frames = self.frames[host.transport.peer] = []

        def sink(arrivals: list[Arrival]) -> None:
            for arrival in arrivals:
                assert isinstance(arrival, Arrived)
                frames.extend(arrival.frames)
                for frame in arrival.frames:
                    said = codec.decode(frame)
                    self.heard += said if isinstance(said, list) else [said]

        host.transport.start(sink)
        return host

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * S))

    def do(self, *effects: Effect) -> None:
        """Have the node ask for these, and let them happen."""
        self.answers.append(list(effects))
        self.driver.post(DrainAsked())
        self.run(0.1)

    def send(self, *sequences: int, to: Host | None = None, header: Header = HEADER, **more: object) -> Send:
        payloads = [b"%d" % sequence for sequence in sequences]
        return Send((to or self.near).transport.peer, Batch(header, 0, list(sequences), list(payloads), **more))  # type: ignore[arg-type]

    def got(self, host: Host) -> int:
        return len(self.frames[host.transport.peer])

    def rows(self) -> list[Item]:
        return [item for said in self.heard if isinstance(said, Batch) for item in items(said)]


def test_what_goes_to_one_peer_at_one_moment_is_one_frame() -> None:
    """Batches of one step, of two jobs' stages, merged in order under their headers."""
    scene = Scene()
    scene.do(scene.send(0), scene.send(5, header=OTHER), scene.send(1, 2), scene.send(6, header=OTHER))
    assert scene.got(scene.near) == 1
    assert [batch.sequences for batch in scene.heard if isinstance(batch, Batch)] == [[0, 1, 2], [5, 6]]


def test_events_of_one_moment_share_a_frame() -> None:
    """Three events were ready: the effects of all go together, also those that the first brought about."""
    scene = Scene()
    scene.answers = [[scene.send(0)], [scene.send(1)], [scene.send(2)]]
    for number in range(3):
        scene.driver.post(SourceEnded(number))
    scene.run(0.1)
    assert scene.got(scene.near) == 1 and [item.sequence for item in scene.rows()] == [0, 1, 2]


def test_moments_do_not_wait_for_each_other() -> None:
    """What is posted later goes later: nothing is held back to make a fuller frame."""
    scene = Scene()
    scene.do(scene.send(0))
    scene.do(scene.send(1))
    assert scene.got(scene.near) == 2


def test_each_peer_gets_its_own() -> None:
    """Gathering is by peer."""
    scene = Scene()
    scene.do(scene.send(0), scene.send(1, to=scene.far), scene.send(2))
    assert scene.got(scene.near) == scene.got(scene.far) == 1
    assert sorted(item.sequence for item in scene.rows()) == [0, 1, 2]


def test_merged_batches_keep_their_columns_apart() -> None:
    """Attempts and statuses that only some have are filled in; the highest watermark counts."""
    scene = Scene()
    retried, busy = scene.send(1, attempts=[4]), scene.send(2, statuses=[Status.BUSY])
    retried.batch.watermark = 9
    scene.do(scene.send(0), retried, busy)
    assert scene.rows() == [Item(0, b"0"), Item(1, b"1", Status.OK, 4), Item(2, b"2", Status.BUSY)]
    [batch] = scene.heard
    assert isinstance(batch, Batch) and batch.watermark == 9


def test_batches_of_different_deadlines_are_not_merged() -> None:
    """Each message keeps the time it has, and their order holds."""
    scene = Scene()
    scene.do(scene.send(0, remaining=5 * S), scene.send(1, remaining=2 * S), scene.send(2))
    found = [(batch.sequences, batch.remaining) for batch in scene.heard if isinstance(batch, Batch)]
    assert found == [([0], 5 * S), ([1], 2 * S), ([2], None)]


def test_a_full_frame_does_not_wait_for_the_end_of_the_step() -> None:
    """128 items go while the node is still at work; nothing is lost or overtaken."""
    scene = Scene()
    scene.do(*(scene.send(*range(start, start + 50)) for start in range(0, 300, 50)))
    assert [item.sequence for item in scene.rows()] == list(range(300))
    assert max(len(batch) for batch in scene.heard if isinstance(batch, Batch)) <= MAX_ITEMS


def test_control_words_keep_their_order_and_go_before_batches() -> None:
    """A greeting must come before what it introduces."""
    scene = Scene()
    peer = scene.near.transport.peer
    scene.do(scene.send(0), Tell(peer, Ping(1)), Tell(peer, Over(7, 1)), scene.send(1))
    assert scene.heard[:2] == [Ping(1), Over(7, 1)] and len(scene.heard) == 3


def test_a_hung_up_peer_gets_nothing_more() -> None:
    """What was gathered for it in this step goes with the link."""
    scene = Scene()
    scene.do(scene.send(0), HangUp(scene.near.transport.peer), scene.send(1, to=scene.far))
    assert scene.got(scene.near) == 0 and scene.got(scene.far) == 1


def test_what_arrives_becomes_events() -> None:
    """Batches and control words of one frame or many, from whom they came, at the host's time."""
    scene = Scene()
    me = scene.host.transport.peer
    scene.do(Tell(scene.near.transport.peer, Ping(1)))
    transport = scene.near.transport
    for frame in Codec().encode([Batch(HEADER, 0, [0, 1], [b"a", b"b"]), Batch(OTHER, 0, [2], [b"c"])]):
        transport.send(me, frame)
    sent_at = scene.kernel.now
    scene.run(0.1)
    [first, second] = scene.node.events(Received)
    assert isinstance(first, Received) and isinstance(second, Received)
    assert (first.peer, first.batch.sequences, second.batch.sequences) == (transport.peer, [0, 1], [2])
    assert [now for now, event in scene.node.seen if isinstance(event, Received)] == [sent_at + 1_000_000] * 2


def test_bad_bytes_become_malformed_and_the_next_frame_is_read() -> None:
    """Counted by the node, never raised; the link goes on."""
    scene = Scene()
    scene.do(Tell(scene.near.transport.peer, Ping(1)))
    me, transport = scene.host.transport.peer, scene.near.transport
    transport.send(me, (b"garbage",))
    transport.send(me, (pack(Body.TABLE, b"\xff\xff"),))
    for frame in Codec().encode([Batch(HEADER, 0, [0], [b"a"])]):
        transport.send(me, frame)
    scene.run(0.1)
    assert scene.node.events(Malformed) == [Malformed(transport.peer)] * 2 and len(scene.node.events(Received)) == 1


def test_what_is_given_back_becomes_bounced_with_the_batch() -> None:
    """Each batch of the frame, with its reason; a failure is then in its wire form. A control word is just gone."""
    scene = Scene()
    nobody = Peer("nobody-000000000")
    failure = Failure("HANDLER_RAISED", "ValueError", "no")
    failed = Send(nobody, Batch(OTHER, 3, [1], [failure], 5 * S, [2], [Status.FAILED]))
    scene.do(Send(nobody, Batch(HEADER, 0, [0], [b"a"])), failed, Tell(nobody, Welcome(1)))
    first, second = scene.node.events(Bounced)
    assert isinstance(first, Bounced) and isinstance(second, Bounced)
    assert (first.peer, first.reason, items(first.batch)) == (nobody, "unknown", [Item(0, b"a")])
    [item] = items(second.batch)
    assert (item.sequence, item.status, item.attempt) == (1, Status.FAILED, 2)
    assert isinstance(item.payload, bytes) and decode_failure(item.payload) == failure
    assert (second.batch.header, second.batch.watermark, second.batch.remaining) == (OTHER, 3, 5 * S)
    assert scene.node.events(Heard) == []


def test_a_tick_comes_at_the_deadline_and_not_before() -> None:
    """At the host's time, once."""
    scene = Scene()
    scene.node.deadline = scene.host.now() + 2 * S
    due = scene.node.deadline
    scene.do()
    scene.run(1.8)
    assert scene.node.events(Tick) == []
    scene.run(5)
    assert [now for now, event in scene.node.seen if isinstance(event, Tick)] == [due]


def test_a_deadline_that_moves_nearer_is_kept() -> None:
    """The timer follows it; one that moves away may fire early, never late."""
    scene = Scene()
    begin = scene.host.now()
    scene.node.deadline = begin + 60 * S
    scene.do()
    scene.node.deadline = begin + 1 * S
    scene.do()
    scene.run(2)
    assert [now for now, event in scene.node.seen if isinstance(event, Tick)] == [begin + 1 * S]


def test_a_deadline_in_the_past_ticks_at_once() -> None:
    """A node that was kept waiting hears of it now."""
    scene = Scene()
    scene.node.deadline = 0
    scene.do()
    assert len(scene.node.events(Tick)) == 1


def test_what_an_owner_posts_while_a_step_runs_is_handled_in_it() -> None:
    """In the order posted, after the event at hand, without a step within a step; sends of both go together."""
    scene = Scene()
    seen: list[str] = []

    def own(effect: Effect) -> None:
        seen.append("own")
        driver.post_now(Listed("inner"))
        seen.append("posted")

    def then(event: Event) -> list[Effect]:
        seen.append(event.server if isinstance(event, Listed) else "other")
        if event == Listed("outer"):
            return [scene.send(0), Follow("x"), scene.send(1)]
        return [scene.send(2)]

    node = Told(then)
    driver = Driver(scene.host, node, own)
    driver.post_now(Listed("outer"))
    assert seen == ["outer", "own", "posted", "inner"]
    scene.run(0.1)
    assert scene.got(scene.near) == 1 and [item.sequence for item in scene.rows()] == [0, 1, 2]


def test_effects_that_are_not_about_links_go_to_the_owner_in_order() -> None:
    """The driver does not know what they mean."""
    scene = Scene()
    invoke = Invoke(0, Batch(HEADER, 0, [0], [b"a"]), None)
    scene.do(Follow("two"), invoke, Follow("three"))
    assert scene.own == [Follow("two"), invoke, Follow("three")]


def test_after_close_nothing_reaches_the_node() -> None:
    """Neither events, nor frames, nor ticks."""
    scene = Scene()
    scene.do(Tell(scene.near.transport.peer, Ping(1)))
    scene.node.deadline = scene.host.now() + S
    scene.do()
    scene.node.seen.clear()
    scene.driver.close()
    scene.driver.post(DrainAsked())
    scene.near.transport.send(scene.host.transport.peer, (b"garbage",))
    scene.run(5)
    assert scene.node.seen == []


def test_instruments_see_every_step() -> None:
    """The same events and effects that the node had, at the same times."""
    scene = Scene()
    steps: list[tuple[int, Event, list[Effect]]] = []

    class Instrument:
        def step(self, now: int, event: Event, effects: list[Effect]) -> None:
            steps.append((now, event, list(effects)))

        def begins(self, header: Header, sequence: int, attempt: int) -> None:
            """No user code runs here."""

        def marks(self, name: str, header: Header | None, sequence: int) -> None:
            """Nor does it mark anything."""

    effects: list[Effect] = [Follow("two")]
    node = Told(lambda event: list(effects))
    driver = Driver(scene.host, node, scene.own.append, Instrument())
    driver.post(Listed("one"))
    driver.post(DrainAsked())
    scene.run(0.1)
    assert steps == [(now, event, effects) for now, event in node.seen] and len(steps) == 2


def test_without_gathering_every_batch_is_a_frame() -> None:
    """The first test of this file needs the line that gathers."""
    scene = Scene()
    with twin(drive, "        if len(batch) >= MAX_ITEMS:\n", "        if len(batch) >= 1:\n"):
        scene.do(scene.send(0), scene.send(5, header=OTHER), scene.send(1, 2), scene.send(6, header=OTHER))
    assert scene.got(scene.near) == 4
