"""What every `palm.ports.transport.Transport` must do: plain async checks that know neither sockets nor a simulator.

A check takes a `World`, awaits nothing but the world and `Transport.aclose`, and fails by AssertionError. The same
list, `CHECKS`, runs on the real network and on the simulated one (in simulated time); what cannot pass one of them is
not an adapter of the port. Between the members of a fresh world the network is quick (a few ms) and loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Awaitable, Callable, Protocol

from palm.errors import PayloadTooLarge
from palm.ports.transport import Address, Arrival, Arrived, Frame, Peer, Transport, Undeliverable

STRANGER = Peer("nobody-ever-had-this-id")
PATIENCE_S = 10.0
"""How long a check waits for what must come: generous, because only a failure uses it up."""


@dataclass(slots=True)
class Inbox:
    """A sink that keeps what came, in order. `react`, when set, is called with each arrival, inside the sink."""

    arrivals: list[Arrival] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    """How many frames each call of the sink brought."""
    react: Callable[[Arrival], None] | None = None
    inside: bool = False

    def __call__(self, arrivals: list[Arrival]) -> None:
        assert not self.inside, "the sink was called from inside the sink"
        assert arrivals, "the sink was called with nothing"
        self.inside = True
        self.batches.append(sum(len(arrival.frames) for arrival in arrivals))
        self.arrivals.extend(arrivals)
        if self.react is not None:
            for arrival in arrivals:
                self.react(arrival)
        self.inside = False

    def received(self, peer: Peer | None = None) -> list[Frame]:
        """All frames from `peer` (from anyone: None), in order."""
        return [
            frame
            for arrival in self.arrivals
            if isinstance(arrival, Arrived) and peer in (None, arrival.peer)
            for frame in arrival.frames
        ]

    def returned(self, peer: Peer | None = None, reason: str | None = None) -> list[Frame]:
        """All frames given back that were for `peer` (anyone), for `reason` (any), in the order they came back."""
        return [
            frame
            for arrival in self.arrivals
            if isinstance(arrival, Undeliverable) and peer in (None, arrival.peer) and reason in (None, arrival.reason)
            for frame in arrival.frames
        ]


@dataclass(frozen=True, slots=True)
class Member:
    """A started transport and the inbox that is its sink. It listens once `transport.bind()` is called."""

    transport: Transport
    inbox: Inbox

    @property
    def peer(self) -> Peer:
        return self.transport.peer


class World(Protocol):
    """A network on which members can be put. Everything that it made ends with it."""

    connect_timeout_s: float
    """The settings that its transports were made with: at most 2 s, so that real time is not wasted."""
    hold_frames: int
    """500 to 2,000."""
    drain: int
    """At most 100."""
    max_frame_bytes: int
    """At most 4 MiB, and more than 2 MiB."""

    async def member(self, name: str, at: Address | None = None) -> Member:
        """A new life: a started transport under a Peer id that nobody had before, on a host of its own called `name`.
        When it binds it gets address `at`, which came from `reserve`; one of the world's choice for None."""
        ...

    def reserve(self) -> Address:
        """An address that is nobody's yet: dialing it reaches nobody until a member binds there."""
        ...

    async def crash(self, member: Member) -> None:
        """End that life without a goodbye: nothing it holds is flushed, its address is free afterwards."""
        ...

    async def run_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Let the world go on until `reached()` is true (looked at often) or `timeout_s` has passed; whether it is."""
        ...

    async def sleep(self, duration_s: float) -> None: ...

    def now(self) -> int:
        """Nanoseconds on a clock that all members share."""
        ...


Check = Callable[[World], Awaitable[None]]


# -- what arrives -----------------------------------------------------------------------------------------------------


async def check_frames_arrive_once_and_in_order(world: World) -> None:
    """Five hundred frames sent in five bursts arrive as they were sent, under the sender's id."""
    server, client = await linked(world)
    sent = numbered(500)
    for start in range(0, 500, 100):
        for frame in sent[start : start + 100]:
            client.transport.send(server.peer, frame)
        await world.sleep(0.005)
    await arrived(world, server, client.peer, sent)


async def check_one_and_two_part_frames_arrive_intact(world: World) -> None:
    """Part counts, empty parts, NUL bytes and a payload of 2 MiB survive, in one sequence; parts are `bytes`."""
    server, client = await linked(world)
    large = bytes(range(256)) * 8192
    sent: list[Frame] = [
        (b"one",), (b"two", b"parts"), (b"empty payload", b""), (b"", b"empty envelope"), (b"",), (b"", b""),
        (b"\x00\x01", large), (b"after the large one",), (large,), (large[:65536], large[:65537]), (b"last", b"\xff"),
    ]  # fmt: skip
    for frame in sent:
        client.transport.send(server.peer, frame)
    await arrived(world, server, client.peer, sent)
    assert all(type(part) is bytes for frame in server.inbox.received() for part in frame), "a part is not bytes"


async def check_a_reply_travels_over_the_dialers_link(world: World) -> None:
    """Who was dialed may send to the dialer by its id once a frame from it has come; the dialer need not listen."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"question",))
    await arrived(world, server, client.peer, [(b"question",)])
    answers: list[Frame] = [(b"answer",), (b"answer", b"with payload")]
    for answer in answers:
        server.transport.send(client.peer, answer)
    await arrived(world, client, server.peer, answers)


async def check_an_answer_from_inside_the_sink_is_sent(world: World) -> None:
    """`send` may be called from the sink: a hundred echoes come back, one asked after the other."""
    server, client = await linked(world)
    server.inbox.react = echo_with(server)

    def ask_again(arrival: Arrival) -> None:
        if isinstance(arrival, Arrived) and len(client.inbox.received()) < 100:
            client.transport.send(server.peer, (b"%d" % len(client.inbox.received()),))

    client.inbox.react = ask_again
    client.transport.send(server.peer, (b"0",))
    await arrived(world, client, server.peer, numbered(100))


async def check_two_peers_that_dial_each_other_use_their_own_links(world: World) -> None:
    """Each frame arrives once, in order, under its sender's id, although there are two links between the two."""
    left, right = await world.member("left"), await world.member("right")
    left_address, right_address = left.transport.bind(), right.transport.bind()
    left.transport.connect(right.peer, right_address)
    right.transport.connect(left.peer, left_address)
    sent = numbered(200)
    for frame in sent:
        left.transport.send(right.peer, frame)
        right.transport.send(left.peer, frame)
    await arrived(world, right, left.peer, sent)
    await arrived(world, left, right.peer, sent)


async def check_many_peers_on_one_listener_keep_apart(world: World) -> None:
    """Twenty dialers send at once; each gets its own echoes, complete and in order, and nobody else's."""
    server = await world.member("server")
    address = server.transport.bind()
    server.inbox.react = echo_with(server)
    clients = [await world.member(f"client-{number}") for number in range(20)]
    sent: dict[Peer, list[Frame]] = {
        client.peer: [(f"{client.peer} {i}".encode(),) for i in range(50)] for client in clients
    }
    for client in clients:
        client.transport.connect(server.peer, address)
        for frame in sent[client.peer]:
            client.transport.send(server.peer, frame)
    for client in clients:
        await arrived(world, client, server.peer, sent[client.peer])
        assert server.inbox.received(client.peer) == sent[client.peer], f"frames of {client.peer} are mixed up"


async def check_the_sink_gets_at_most_a_drain_of_frames_at_once(world: World) -> None:
    """However much is ready, one call of the sink brings no more than `drain` frames, so that timers get their turn."""
    server, client = await linked(world)
    sent = numbered(5 * world.drain)
    for frame in sent:
        client.transport.send(server.peer, frame)
    await arrived(world, server, client.peer, sent)
    assert max(server.inbox.batches) <= world.drain, f"{max(server.inbox.batches)} frames in one call"


async def check_a_burst_of_ten_thousand_adds_up(world: World) -> None:
    """Sent at once, far over every mark: each frame arrives or comes back as "full", once, in order."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"up",))
    await arrived(world, server, client.peer, [(b"up",)])
    sent = numbered(10_000)
    for frame in sent:
        client.transport.send(server.peer, frame)

    def all_ended() -> bool:
        return frames_from(server.inbox, client.peer) + len(client.inbox.returned()) > len(sent)

    await world.run_until(all_ended, PATIENCE_S)
    await world.sleep(0.2)
    got, back = server.inbox.received(client.peer)[1:], client.inbox.returned(server.peer, "full")
    assert len(got) + len(back) == len(sent), f"{len(got)} arrived, {len(back)} came back as full, of {len(sent)}"
    assert is_merge(got, back, sent), "a frame is lost, doubled or out of its order"


async def check_a_steady_flow_of_ten_thousand_loses_nothing(world: World) -> None:
    """Sent a hundred at a time, each once the one before has arrived: all arrive, in order, none comes back."""
    server, client = await linked(world)
    sent = numbered(10_000)
    for start in range(0, len(sent), 100):
        for frame in sent[start : start + 100]:
            client.transport.send(server.peer, frame)
        reached = lambda: frames_from(server.inbox, client.peer) >= start + 100  # noqa: B023, E731  used within this turn
        assert await world.run_until(reached, PATIENCE_S), "the flow stopped"
    assert server.inbox.received(client.peer) == sent
    assert not client.inbox.returned()


# -- links that come and go -------------------------------------------------------------------------------------------


async def check_start_order_does_not_matter(world: World) -> None:
    """Frames for a peer that binds only after it was dialed wait, and arrive in order, before those sent later."""
    address = world.reserve()
    server, client = await world.member("server", at=address), await world.member("client")
    client.transport.connect(server.peer, address)
    sent = numbered(20)
    for frame in sent[:10]:
        client.transport.send(server.peer, frame)
    await world.sleep(world.connect_timeout_s / 4)
    assert server.transport.bind() == address
    for frame in sent[10:]:
        client.transport.send(server.peer, frame)
    await arrived(world, server, client.peer, sent)
    assert not client.inbox.arrivals


async def check_dialing_twice_is_dialing_once(world: World) -> None:
    """A second `connect` with the same address does nothing: what waits still waits, and arrives once."""
    address = world.reserve()
    server, client = await world.member("server", at=address), await world.member("client")
    sent = numbered(10)
    for frame in sent:
        client.transport.connect(server.peer, address)
        client.transport.send(server.peer, frame)
    server.transport.bind()
    client.transport.connect(server.peer, address)
    await arrived(world, server, client.peer, sent)


async def check_another_address_replaces_the_link(world: World) -> None:
    """What waited for the old address goes to the new one, in order: it is for the peer, not for the place."""
    server, client = await world.member("server"), await world.member("client")
    client.transport.connect(server.peer, world.reserve())
    sent = numbered(10)
    for frame in sent[:5]:
        client.transport.send(server.peer, frame)
    client.transport.connect(server.peer, server.transport.bind())
    for frame in sent[5:]:
        client.transport.send(server.peer, frame)
    await arrived(world, server, client.peer, sent)
    assert not client.inbox.arrivals


async def check_disconnect_drops_silently(world: World) -> None:
    """What a link holds goes with it and is not given back; then the peer is unknown, until it is dialed again."""
    address = world.reserve()
    server, client = await world.member("server", at=address), await world.member("client")
    client.transport.connect(server.peer, address)
    client.transport.send(server.peer, (b"dropped",))
    client.transport.disconnect(server.peer)
    server.transport.bind()
    await world.sleep(world.connect_timeout_s + 0.5)
    assert not client.inbox.arrivals and not server.inbox.arrivals
    client.transport.send(server.peer, (b"to nobody",))
    await returned(world, client, server.peer, "unknown", [(b"to nobody",)])
    client.transport.connect(server.peer, address)
    client.transport.send(server.peer, (b"again",))
    await arrived(world, server, client.peer, [(b"again",)])


async def check_disconnect_of_a_stranger_is_harmless(world: World) -> None:
    """`disconnect` of a peer that was never dialed, or twice, does nothing; a link by which we were dialed stays."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"hello",))
    await arrived(world, server, client.peer, [(b"hello",)])
    server.transport.disconnect(client.peer)
    server.transport.disconnect(STRANGER)
    server.transport.disconnect(STRANGER)
    server.transport.send(client.peer, (b"still here",))
    await arrived(world, client, server.peer, [(b"still here",)])


async def check_a_dialed_peer_that_is_gone_is_never_an_exception(world: World) -> None:
    """After a crash each frame is lost or comes back as "unreachable", in order, not before the connect timeout; by a
    timeout after the loss was noticed they all come back."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"up",))
    await arrived(world, server, client.peer, [(b"up",)])
    await world.crash(server)
    for frame in numbered(20):
        client.transport.send(server.peer, frame)
        await world.sleep(0.05)
    last, sent_at = (b"certainly after the loss",), world.now()
    client.transport.send(server.peer, last)
    assert await world.run_until(lambda: last in client.inbox.returned(), PATIENCE_S), "the last frame stayed away"
    assert world.now() - sent_at >= world.connect_timeout_s * 1e9 * 0.99, "given up before the connect timeout"
    back = client.inbox.returned(server.peer, "unreachable")
    assert back == [frame for frame in [*numbered(20), last] if frame in back], "given back out of order, or twice"
    assert len(client.inbox.arrivals) == sum(isinstance(a, Undeliverable) for a in client.inbox.arrivals)


async def check_a_link_says_how_it_is(world: World) -> None:
    """None before it is dialed and after it was dropped; up by itself once somebody listens, without a frame; down
    where nobody does, and soon after the listener has crashed."""
    server, client = await world.member("server"), await world.member("client")
    assert client.transport.link_state(server.peer) == "none"
    client.transport.connect(server.peer, server.transport.bind())
    nobody = Peer("nobody-listens-there")
    client.transport.connect(nobody, world.reserve())
    assert await world.run_until(lambda: client.transport.link_state(server.peer) == "up", PATIENCE_S)
    assert client.transport.link_state(nobody) == "down"
    assert server.transport.link_state(client.peer) == "none", "it was dialed, and did not dial"
    await world.crash(server)
    assert await world.run_until(lambda: client.transport.link_state(server.peer) == "down", PATIENCE_S)
    client.transport.disconnect(server.peer)
    assert client.transport.link_state(server.peer) == "none"


async def check_a_dialer_that_is_gone_becomes_unknown(world: World) -> None:
    """Once the loss of a dialer is noticed, what is sent to it comes back as "unknown"; before, it is lost."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"up",))
    await arrived(world, server, client.peer, [(b"up",)])
    await world.crash(client)
    sent = numbered(50)
    for frame in sent:
        server.transport.send(client.peer, frame)
        await world.sleep(0.1)
        if server.inbox.returned():
            break
    back = server.inbox.returned(client.peer, "unknown")
    assert back, "5 s after the dialer's end its frames are still taken"
    assert server.inbox.returned() == back == [frame for frame in sent if frame in back]


async def check_a_new_life_at_the_same_address_is_reached(world: World) -> None:
    """The link reconnects by itself. What comes over it still bears the id that was dialed: who lives there now is for
    the layers above to ask. Each frame arrives at most once, at one of the two, in order."""
    address = world.reserve()
    old, client = await world.member("server", at=address), await world.member("client")
    old.transport.bind()
    client.transport.connect(old.peer, address)
    client.transport.send(old.peer, (b"up",))
    await arrived(world, old, client.peer, [(b"up",)])
    await world.crash(old)
    new = await world.member("server", at=address)
    assert new.transport.bind() == address
    new.inbox.react = echo_with(new)
    sent = numbered(200)
    for frame in sent:
        client.transport.send(old.peer, frame)
        await world.sleep(0.05)
        if client.inbox.received():
            break
    came = new.inbox.received(client.peer)
    assert came, "nothing reached the new life"
    assert came == [frame for frame in sent if frame in came]
    assert await world.run_until(lambda: client.inbox.received(old.peer) == new.inbox.received(), PATIENCE_S)


# -- what comes back --------------------------------------------------------------------------------------------------


async def check_a_peer_never_heard_of_is_unknown(world: World) -> None:
    """Frames for a peer that was neither dialed nor heard of come back, in order, one and two parts alike, whether the
    sender listens or not."""
    listening, mute = await world.member("listening"), await world.member("mute")
    listening.transport.bind()
    sent: list[Frame] = [(b"a",), (b"b", b"with payload"), (b"c",)]
    for member in (listening, mute):
        for frame in sent:
            member.transport.send(STRANGER, frame)
        await returned(world, member, STRANGER, "unknown", sent)


async def check_nobody_listening_is_unreachable(world: World) -> None:
    """Frames for an address where nobody listens come back oldest first, not before the connect timeout, and soon
    after it; later ones likewise."""
    client = await world.member("client")
    client.transport.connect(STRANGER, world.reserve())
    ended: list[Frame] = []
    for round_ in range(2):
        sent: list[Frame] = [(b"%d.%d" % (round_, i), b"payload") for i in range(50)]
        start = world.now()
        for frame in sent:
            client.transport.send(STRANGER, frame)
        await world.sleep(world.connect_timeout_s * 0.9)
        assert client.inbox.returned() == ended, "given up before the connect timeout"
        await returned(world, client, STRANGER, "unreachable", ended := ended + sent)
        waited_s = (world.now() - start) / 1e9
        assert world.connect_timeout_s * 0.99 <= waited_s <= world.connect_timeout_s + 1.0, f"waited {waited_s} s"


async def check_an_address_that_is_none_is_unreachable(world: World) -> None:
    """Nonsense from a registry record is an address at which nobody listens; it never raises, and others are served."""
    server, client = await linked(world)
    for number, address in enumerate(("", "nonsense", "tcp://", "tcp://127.0.0.1:99999", "sim://", "\0", "a" * 5000)):
        client.transport.connect(Peer(f"a-peer-at-nonsense-{number}"), address)
    client.transport.send(Peer("a-peer-at-nonsense-0"), (b"lost",))
    client.transport.send(server.peer, (b"served",))
    await arrived(world, server, client.peer, [(b"served",)])
    await returned(world, client, Peer("a-peer-at-nonsense-0"), "unreachable", [(b"lost",)])


async def check_what_a_link_cannot_hold_comes_back_as_full(world: World) -> None:
    """A link that is not up holds the first `hold_frames`; those after them come back at once, the held ones later."""
    client = await world.member("client")
    client.transport.connect(STRANGER, world.reserve())
    sent = numbered(world.hold_frames + 30)
    start = world.now()
    for frame in sent:
        client.transport.send(STRANGER, frame)
    await returned(world, client, STRANGER, "full", sent[world.hold_frames :])
    assert world.now() - start < world.connect_timeout_s * 1e9, "the surplus waited"
    assert await world.run_until(lambda: len(client.inbox.returned()) == len(sent), PATIENCE_S)
    assert client.inbox.returned(STRANGER, "unreachable") == sent[: world.hold_frames]


async def check_send_never_calls_the_sink(world: World) -> None:
    """What `send` cannot do comes through the sink later: `send` never enters it, from outside or from within."""
    client, unknown = await world.member("client"), Peer("another-unknown-peer")
    client.transport.connect(STRANGER, world.reserve())

    def send_more(arrival: Arrival) -> None:
        if len(client.inbox.arrivals) < 3:
            client.transport.send(unknown, (b"from inside",))  # the Inbox asserts that it is not entered twice

    client.inbox.react = send_more
    for frame in numbered(world.hold_frames + 1):
        client.transport.send(STRANGER, frame)
    client.transport.send(unknown, (b"from outside",))
    assert not client.inbox.arrivals, "send called the sink"
    assert await world.run_until(lambda: (b"from inside",) in client.inbox.returned(), PATIENCE_S)


async def check_a_frame_over_the_limit_is_refused(world: World) -> None:
    """`max_frame_bytes` counts both parts: one byte over raises `PayloadTooLarge`, sends nothing and harms nothing."""
    server, client = await linked(world)
    limit = world.max_frame_bytes
    fits: list[Frame] = [(bytes(limit),), (bytes(100), bytes(limit - 100))]
    too_large: list[Frame] = [(bytes(limit + 1),), (bytes(100), bytes(limit - 99))]
    for good, bad in zip(fits, too_large, strict=True):
        client.transport.send(server.peer, good)
        for peer in (server.peer, STRANGER):
            try:
                client.transport.send(peer, bad)
            except PayloadTooLarge as refusal:
                assert str(limit) in str(refusal) and str(limit + 1) in str(refusal), f"names no figures: {refusal}"
            else:
                raise AssertionError("a frame over max_frame_bytes was taken")
    await arrived(world, server, client.peer, fits)
    assert not client.inbox.arrivals


# -- listening, counting, ending --------------------------------------------------------------------------------------


async def check_an_address_in_use_cannot_be_bound(world: World) -> None:
    """`bind` raises OSError while another life has the address; afterwards the member still works as a dialer."""
    address = world.reserve()
    first, second = await world.member("first", at=address), await world.member("second", at=address)
    assert first.transport.bind() == address
    try:
        second.transport.bind()
    except OSError:
        pass
    else:
        raise AssertionError("two members listen at one address")
    second.transport.connect(first.peer, address)
    second.transport.send(first.peer, (b"hello",))
    await arrived(world, first, second.peer, [(b"hello",)])


async def check_counters_add_up(world: World) -> None:
    """Frames and bytes are counted once where they leave and once where they arrive; what is given back is not sent."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"12345",))
    client.transport.send(server.peer, (b"123", b"4567"))
    client.transport.send(STRANGER, (b"back",))
    await arrived(world, server, client.peer, [(b"12345",), (b"123", b"4567")])
    await returned(world, client, STRANGER, "unknown", [(b"back",)])
    here, there = client.transport.counters, server.transport.counters
    assert (here.frames_sent, here.bytes_sent, here.undeliverable) == (2, 12, 1), here
    assert (there.frames_received, there.bytes_received, there.bad_frames) == (2, 12, 0), there
    assert (here.frames_received, there.frames_sent) == (0, 0)


async def check_closing_is_idempotent_and_final(world: World) -> None:
    """What is held comes back as "closed", and so does what is sent later; connecting and closing again do nothing;
    nothing arrives any more."""
    server, client = await linked(world)
    client.transport.send(server.peer, (b"up",))
    await arrived(world, server, client.peer, [(b"up",)])
    client.transport.connect(STRANGER, world.reserve())
    client.transport.send(STRANGER, (b"held",))
    await client.transport.aclose()
    await client.transport.aclose(linger_s=5.0)
    client.transport.connect(STRANGER, world.reserve())
    client.transport.disconnect(server.peer)
    client.transport.send(server.peer, (b"later",))
    assert await world.run_until(lambda: len(client.inbox.returned()) == 2, PATIENCE_S), client.inbox.arrivals
    assert client.inbox.returned(reason="closed") == [(b"held",), (b"later",)]
    assert not client.inbox.received()


async def check_a_close_that_lingers_flushes(world: World) -> None:
    """What the links hold when `aclose` is called goes out within its time, also over a link that is not yet up."""
    server, client = await linked(world)
    sent = numbered(500)
    for frame in sent:
        client.transport.send(server.peer, frame)
    await client.transport.aclose(linger_s=5.0)
    await arrived(world, server, client.peer, sent)
    assert not client.inbox.returned()


async def check_a_close_that_lingers_is_bounded(world: World) -> None:
    """With nobody there to take what is held, `aclose` ends after its linger time, and gives it back."""
    client = await world.member("client")
    client.transport.connect(STRANGER, world.reserve())
    client.transport.send(STRANGER, (b"held",))
    start = world.now()
    await client.transport.aclose(linger_s=0.3)
    assert 0.25e9 <= world.now() - start <= 1.3e9, f"aclose took {(world.now() - start) / 1e9} s"
    assert await world.run_until(lambda: client.inbox.returned(STRANGER, "closed") == [(b"held",)], PATIENCE_S)


# -- how the checks speak ---------------------------------------------------------------------------------------------


async def linked(world: World) -> tuple[Member, Member]:
    """A server that listens, and a client that has dialed it."""
    server, client = await world.member("server"), await world.member("client")
    client.transport.connect(server.peer, server.transport.bind())
    return server, client


def numbered(count: int) -> list[Frame]:
    return [(b"%d" % number,) for number in range(count)]


def echo_with(member: Member) -> Callable[[Arrival], None]:
    """A reaction that sends each frame back to where it came from."""

    def echo(arrival: Arrival) -> None:
        if isinstance(arrival, Arrived):
            for frame in arrival.frames:
                member.transport.send(arrival.peer, frame)

    return echo


async def arrived(world: World, at: Member, source: Peer, expected: list[Frame]) -> None:
    """Wait until as many frames of `source` as expected are there; they are the expected ones, and no more follow."""
    await world.run_until(lambda: frames_from(at.inbox, source) >= len(expected), PATIENCE_S)
    await world.sleep(0.05)
    got = at.inbox.received(source)
    assert len(got) == len(expected), f"{len(got)} frames arrived, not {len(expected)}"
    assert got == expected, f"first difference at frame {next(i for i, f in enumerate(got) if f != expected[i])}"


async def returned(world: World, at: Member, peer: Peer, reason: str, expected: list[Frame]) -> None:
    """Wait until frames for `peer` are given back for `reason`; they are the expected ones, in order."""
    await world.run_until(lambda: len(at.inbox.returned(peer)) >= len(expected), PATIENCE_S)
    assert at.inbox.returned(peer, reason) == expected, at.inbox.arrivals[:10]


def frames_from(inbox: Inbox, source: Peer) -> int:
    return sum(len(a.frames) for a in inbox.arrivals if isinstance(a, Arrived) and a.peer == source)


def is_merge(one: list[Frame], other: list[Frame], whole: list[Frame]) -> bool:
    """Whether the distinct frames of `whole`, in order, are exactly those of `one` and `other`, each in order."""
    in_one = set(one)
    return one == [f for f in whole if f in in_one] and other == [f for f in whole if f not in in_one]


CHECKS: tuple[Check, ...] = tuple(
    check for name, check in sorted(globals().items()) if name.startswith("check_") and callable(check)
)
"""Every check above, by name."""
