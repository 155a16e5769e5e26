"""The transport port on the simulated network: dialed links with ZeroMQ's observable rules, carrying the same bytes.

A connection is up, or it is down and tried again each 100 ms. It breaks when an end closes or crashes (the other end
learns of it one delay later, behind the data), and when a cut or a frozen end leaves it silent for longer than
ZeroMQ's heartbeat (between 1.5 and 2 s, drawn). What was on its way when it broke is lost. A link that is down holds
frames for its peer up to the connect timeout. Retries cost no events while nothing has changed: a connection that
cannot come up is looked at again when a rule is lifted, an address is bound or a host thaws, and then takes the next
tick of its own 100 ms clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from random import Random
from typing import Literal, Protocol

from palm.errors import PayloadTooLarge
from palm.ports.host import Timer
from palm.ports.transport import (
    Address,
    Arrival,
    Arrived,
    Frame,
    LinkState,
    Peer,
    Sink,
    TransportCounters,
    Undeliverable,
)
from palm.sim.draws import Key
from palm.sim.kernel import NANOSECONDS, Future
from palm.sim.network import Ends, Network, Pipe
from palm.sim.processor import Processor
from palm.wire.codec import messages_in

RETRY_NS = 100_000_000
SILENCE_LOW_NS, SILENCE_HIGH_NS = 1_500_000_000, 2_000_000_000
"""ZeroMQ with HEARTBEAT_IVL 500 and HEARTBEAT_TIMEOUT 1500 finds a silent connection dead after this long."""
FIRST_PORT = 20_000
LOOK_NS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """The bounds of one transport. Times in seconds."""

    hold_frames: int = 1000
    connect_timeout_s: float = 2.0
    high_water_frames: int = 2000
    """Frames on their way and unread, in one direction of one link: both ends' marks of 1,000 together."""
    max_frame_bytes: int = 64 << 20
    drain: int = 256


class Process(Protocol):
    """What a transport needs of the simulated process that it lives in."""

    name: str
    place: str
    """The host, in the network's sense, that the process runs on."""
    life: int
    frozen: bool

    @property
    def processor(self) -> Processor | None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...
    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...
    def now(self) -> int: ...
    def call_next(self, callback: Callable[[], None]) -> None: ...
    def perform(self, callback: Callable[[], None]) -> None: ...
    def draw(self, name: str, ordinal: int = 0) -> Random: ...


class Fabric:
    """All addresses and connections of one world."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.kernel = network.kernel
        self.bound: dict[Address, SimTransport] = {}
        self._ports: dict[str, int] = {}
        self._connections: dict[Connection, None] = {}
        self._dialing: dict[Address, dict[Connection, None]] = {}
        network.on_change(self, self.changed)

    def changed(self) -> None:
        """Look at every connection anew: a rule or the state of a host has changed."""
        for connection in list(self._connections):
            connection.review()

    def reset(self, ends: Ends) -> int:
        """Break every connection that is up on these links, as a TCP reset does; how many there were."""
        broken = 0
        for connection in list(self._connections):
            listener = connection.listener
            if connection.state == "up" and listener is not None:
                here, there = connection.dialer.process.place, listener.process.place
                if here != there and (self.network.meant(ends, here, there) or self.network.meant(ends, there, here)):
                    connection.reset()
                    broken += 1
        return broken

    def reserve(self, place: str) -> Address:
        """An address on that host that was nobody's before."""
        port = self._ports.get(place, FIRST_PORT)
        self._ports[place] = port + 1
        return f"sim://{place}:{port}"

    def bind(self, transport: SimTransport, address: Address) -> None:
        """Listen there. Raises OSError when somebody does."""
        if address in self.bound:
            raise OSError(f"{address} is in use by {self.bound[address].label}")
        self.bound[address] = transport
        for connection in list(self._dialing.get(address, ())):
            connection.review()

    def unbind(self, address: Address) -> None:
        self.bound.pop(address, None)

    def add(self, connection: Connection) -> None:
        self._connections[connection] = None
        self._dialing.setdefault(connection.address, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        del self._connections[connection], self._dialing[connection.address][connection]
        if not self._dialing[connection.address]:
            del self._dialing[connection.address]


class Connection:
    """One dialed link, through all its breaks and reconnections until its dialer drops it."""

    __slots__ = (
        "_attempt",
        "_began",
        "_expiry",
        "_fabric",
        "_key",
        "_life",
        "_silence",
        "address",
        "back",
        "dialer",
        "held",
        "listener",
        "out",
        "peer",
        "state",
    )

    def __init__(self, fabric: Fabric, dialer: SimTransport, peer: Peer, address: Address, ordinal: int) -> None:
        self._fabric = fabric
        self.dialer = dialer
        self.peer = peer
        self.address = address
        self.state: Literal["down", "connecting", "up", "dropped"] = "down"
        self.listener: SimTransport | None = None
        self.out: Pipe[Frame] | None = None
        self.back: Pipe[Frame] | None = None
        self.held: list[tuple[int, Frame]] = []
        """Frames that wait for the link to come up, each with its deadline by the dialer's clock."""
        self._key = Key(fabric.kernel.seed, f"{dialer.label}>{address}#{ordinal}")
        self._life = 0
        self._began = fabric.kernel.now
        self._attempt: Timer | None = None
        self._silence: Timer | None = None
        self._expiry: Timer | None = None
        fabric.add(self)
        self._try()

    # -- the dialer's side ---------------------------------------------------------------------------------------

    def hold(self, frame: Frame) -> bool:
        """Keep a frame until the link is up; False when it is full."""
        if len(self.held) >= self.dialer.settings.hold_frames:
            return False
        process = self.dialer.process
        deadline = process.now() + round(self.dialer.settings.connect_timeout_s * NANOSECONDS)
        self.held.append((deadline, frame))
        if self._expiry is None:
            self._expiry = process.call_at(deadline, self._expire)
        return True

    def inherit(self, old: Connection) -> None:
        """Take over what waits on another link to the same peer, which ends: it is for the peer, not for the place."""
        self.held, old.held = old.held, self.held
        if self.held and self._expiry is None:
            self._expiry = self.dialer.process.call_at(self.held[0][0], self._expire)
        old.drop()

    def drop(self) -> None:
        """The dialer is done with it, and with what it holds; the listener learns of it in its time."""
        if self.state == "dropped":
            return
        was_up = self.state == "up"
        self.state = "dropped"
        self._fabric.remove(self)
        for timer in (self._attempt, self._silence, self._expiry):
            if timer is not None:
                timer.cancel()
        self.held.clear()
        if was_up:
            assert self.listener is not None and self.out is not None, "an up connection has a listener and pipes"
            self._hang_up(self.out, self.back, partial(self._listener_learns, self.listener, self.out))

    def _expire(self) -> None:
        self._expiry = None
        now = self.dialer.process.now()
        late = bisect_right(self.held, now, key=itemgetter(0))
        if late:
            self.dialer.give_back(self.peer, [frame for _, frame in self.held[:late]], "unreachable")
            del self.held[:late]
        if self.held:
            self._expiry = self.dialer.process.call_at(self.held[0][0], self._expire)

    # -- coming up -----------------------------------------------------------------------------------------------

    def review(self) -> None:
        """Something in the world has changed: break in time, or try again at the next tick."""
        if self.state == "up":
            if self._quiet():
                if self._silence is None:
                    kernel = self._fabric.kernel
                    wait = SILENCE_LOW_NS + self._key.unit(self._life) * (SILENCE_HIGH_NS - SILENCE_LOW_NS)
                    self._silence = kernel.call_at(kernel.now + round(wait), self._fell_silent)
            elif self._silence is not None:
                self._silence.cancel()
                self._silence = None
        elif self.state == "down" and self._attempt is None and self._reachable() is not None:
            self._try_at_next_tick()

    def _try_at_next_tick(self) -> None:
        kernel = self._fabric.kernel
        ticks = (kernel.now - self._began) // RETRY_NS + 1
        self._attempt = kernel.call_at(self._began + ticks * RETRY_NS, self._try)

    def _reachable(self) -> SimTransport | None:
        listener = self._fabric.bound.get(self.address)
        if listener is None or listener.process.frozen or self.dialer.process.frozen:
            return None
        here, there = self.dialer.process.place, listener.process.place
        return listener if self._fabric.network.passes(here, there) else None

    def _try(self) -> None:
        self._attempt = None
        listener = self._reachable()
        if listener is None:
            self.state = "down"
            self._blame()
            return
        self.state = "connecting"
        here, there = self.dialer.process.place, listener.process.place
        network, kernel = self._fabric.network, self._fabric.kernel
        self._life += 1
        there_draw, back_draw, _, _ = self._key.four(self._life)
        handshake = network.path(here, there).link.delay.sample(there_draw)
        handshake += network.path(there, here).link.delay.sample(back_draw)
        self._attempt = kernel.call_at(kernel.now + handshake, partial(self._shaken, listener))

    def _shaken(self, listener: SimTransport) -> None:
        self._attempt = None
        if self._reachable() is not listener:
            self.state = "down"
            self._blame()
            if self._reachable() is not None:
                self._try_at_next_tick()
            return
        network, name = self._fabric.network, f"{self.dialer.label}>{self.address}#{self._life}"
        here = (self.dialer.process.place, self.dialer.label)
        there = (listener.process.place, listener.label)
        self.state = "up"
        self.listener = listener
        self.out = network.pipe(here, there, f"{name}/out", partial(self._arrived_out, listener))
        self.back = network.pipe(there, here, f"{name}/back", self._arrived_back)
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        listener.served(self)
        held, self.held = self.held, []
        for _, frame in held:
            self.dialer.send_through(self.out, frame, sum(map(len, frame)))

    def _blame(self) -> None:
        listener = self._fabric.bound.get(self.address)
        if listener is not None:
            self._fabric.network.blame(self.dialer.process.place, listener.process.place)

    # -- carrying ------------------------------------------------------------------------------------------------

    def _arrived_out(self, listener: SimTransport, frames: list[Frame]) -> None:
        assert self.out is not None, "frames arrive on a pipe that was made"
        listener.arrived(self.dialer.peer, frames, self.out, self)

    def _arrived_back(self, frames: list[Frame]) -> None:
        assert self.back is not None, "frames arrive on a pipe that was made"
        self.dialer.arrived(self.peer, frames, self.back, None)

    # -- breaking ------------------------------------------------------------------------------------------------

    def _quiet(self) -> bool:
        assert self.listener is not None, "an up connection has a listener"
        here, there = self.dialer.process, self.listener.process
        return here.frozen or there.frozen or not self._fabric.network.passes(here.place, there.place)

    def _fell_silent(self) -> None:
        self._silence = None
        self._blame()
        if self.out is not None and self.listener is not None:
            self._listener_learns(self.listener, self.out)
        self._went_down(self._life)

    def reset(self) -> None:
        """Both ends learn at once that it broke; what is on its way is lost."""
        assert self.listener is not None and self.out is not None, "an up connection has a listener and pipes"
        self._listener_learns(self.listener, self.out)
        self._went_down(self._life)

    def fall_dead(self) -> None:
        """Nothing comes through any more, and nobody knows it yet: the silence will tell."""
        for pipe in (self.out, self.back):
            if pipe is not None and self.state == "up":
                pipe.closed = True

    def listener_closed(self) -> None:
        """The listening end is closed or dead: the dialer learns of it, behind the data that is on its way."""
        if self.state == "up":
            self._hang_up(self.back, self.out, partial(self._went_down, self._life))

    def _hang_up(
        self, mine: Pipe[Frame] | None, theirs: Pipe[Frame] | None, learn: Callable[[], None]
    ) -> None:
        assert mine is not None and theirs is not None, "an up connection has two pipes"
        theirs.closed = True
        if self._fabric.network.passes(mine.path.src, mine.path.dst):
            mine.after_all(learn, mine.path.link.delay.sample(self._key.unit(self._life)))
        else:
            self._fabric.kernel.call_at(self._fabric.kernel.now + SILENCE_HIGH_NS, learn)

    def _went_down(self, life: int) -> None:
        if self.state != "up" or life != self._life:
            return
        self.state = "down"
        self._break_pipes()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        self._began = self._fabric.kernel.now
        self._attempt = self._fabric.kernel.call_at(self._began + RETRY_NS, self._try)

    def _listener_learns(self, listener: SimTransport, out: Pipe[Frame]) -> None:
        out.closed = True
        listener.forget(self.dialer.peer, self)

    def _break_pipes(self) -> None:
        for pipe in (self.out, self.back):
            if pipe is not None:
                pipe.closed = True


class SimTransport:
    """palm.ports.transport.Transport in the simulated world. `listen` is the address to bind, by default a new one."""

    __slots__ = (
        "_address",
        "_closed",
        "_dialed",
        "_dials",
        "_fabric",
        "_flushing",
        "_reading",
        "_inbox",
        "_incoming",
        "_listen",
        "_served",
        "_sink",
        "counters",
        "label",
        "peer",
        "process",
        "settings",
    )

    def __init__(
        self,
        fabric: Fabric,
        process: Process,
        settings: TransportSettings = TransportSettings(),
        listen: Address | None = None,
    ) -> None:
        self.process = process
        self.settings = settings
        self.label = process.name if process.life == 0 else f"{process.name}#{process.life}"
        self.peer = Peer(f"{process.draw('peer').getrandbits(128):032x}")
        self.counters = TransportCounters()
        self._fabric = fabric
        self._listen = listen
        self._address: Address | None = None
        self._sink: Sink | None = None
        self._dialed: dict[Peer, Connection] = {}
        self._dials = 0
        self._incoming: dict[Peer, Connection] = {}
        self._served: dict[Connection, None] = {}
        self._inbox: list[tuple[Arrival, Pipe[Frame] | None]] = []
        self._flushing = False
        self._reading = False
        """What came waits for the processor, and what comes meanwhile waits with it."""
        self._closed = False

    def start(self, sink: Sink) -> None:
        self._sink = sink
        if self._inbox:
            self._flush_soon()

    def bind(self) -> Address:
        if self._address is None:
            address = self._listen or self._fabric.reserve(self.process.place)
            if not address.startswith(f"sim://{self.process.place}:"):
                raise OSError(f"{address} is not an address of host {self.process.place}")
            self._address = address
            self._fabric.bind(self, address)
        return self._address

    def connect(self, peer: Peer, address: Address) -> None:
        old = self._dialed.get(peer)
        if self._closed or (old is not None and old.address == address):
            return
        self._dials += 1
        connection = self._dialed[peer] = Connection(self._fabric, self, peer, address, self._dials)
        if old is not None:
            connection.inherit(old)

    def disconnect(self, peer: Peer) -> None:
        connection = self._dialed.pop(peer, None)
        if connection is not None:
            connection.drop()

    def link_state(self, peer: Peer) -> LinkState:
        connection = self._dialed.get(peer)
        return "none" if connection is None else "up" if connection.state == "up" else "down"

    def send(self, peer: Peer, frame: Frame) -> None:
        size = sum(map(len, frame))
        if size > self.settings.max_frame_bytes:
            limit = self.settings.max_frame_bytes
            raise PayloadTooLarge(f"frame of {size} bytes exceeds {limit} (raise max_frame_bytes)")
        if self._closed:
            self.give_back(peer, [frame], "closed")
            return
        connection = self._dialed.get(peer)
        if connection is None:
            connection = self._incoming.get(peer)
            if connection is None:
                self.give_back(peer, [frame], "unknown")
                return
            pipe = connection.back
        elif connection.state == "up":
            pipe = connection.out
        elif connection.hold(frame):
            return
        else:
            self.give_back(peer, [frame], "full")
            return
        assert pipe is not None, "an up connection has two pipes"
        if pipe.in_flight >= self.settings.high_water_frames:
            self.give_back(peer, [frame], "full")
            return
        self.send_through(pipe, frame, size)

    def send_through(self, pipe: Pipe[Frame], frame: Frame, size: int) -> None:
        """Hand one frame to the network, by a link that is up."""
        self.counters.frames_sent += 1
        self.counters.bytes_sent += size
        processor = self.process.processor
        if processor is not None and (cost := _cost(processor, frame)):
            # It leaves at once, and what it costs delays what the process does next: so no order changes.
            processor.compute(cost, lambda: None, own=True)
        pipe.send(frame, frame)

    async def aclose(self, linger_s: float = 0.0) -> None:
        if self._closed:
            return
        if linger_s > 0 and any(connection.held for connection in self._dialed.values()):
            await self._held_gone(linger_s)
        self._close()

    def crash(self) -> None:
        """The process is dead: its links end as its operating system closes them, and nothing it held is given back."""
        self._inbox.clear()
        self._sink = None
        self._close()

    def suspend(self) -> None:
        """Whatever is on its links is lost from now on. Who is at their other ends learns of it by the silence."""
        for connection in (*self._dialed.values(), *self._served):
            connection.fall_dead()

    def resume(self) -> None:
        """What is still taken for a link breaks now; dialed ones come up again by themselves."""
        for connection in [*self._dialed.values(), *self._served]:
            if connection.state == "up":
                connection.reset()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._address is not None:
            self._fabric.unbind(self._address)
        dialed, self._dialed = self._dialed, {}
        for connection in dialed.values():
            if connection.held:
                self.give_back(connection.peer, [frame for _, frame in connection.held], "closed")
            connection.drop()
        for connection in list(self._served):
            connection.listener_closed()
        self._served.clear()
        self._incoming.clear()

    async def _held_gone(self, linger_s: float) -> None:
        gone: Future[None] = Future()
        deadline = self.process.now() + round(linger_s * NANOSECONDS)

        def look() -> None:
            if self.process.now() >= deadline or not any(c.held for c in self._dialed.values()):
                gone.set(None)
            else:
                self.process.call_at(self.process.now() + LOOK_NS, look)

        look()
        await gone

    # -- from connections ----------------------------------------------------------------------------------------

    def served(self, connection: Connection) -> None:
        """A dialer is connected to us now."""
        self._served[connection] = None

    def arrived(self, peer: Peer, frames: list[Frame], pipe: Pipe[Frame], incoming: Connection | None) -> None:
        """Frames from the network; `incoming` is the link by which a dialer reached us. The last that its callback
        does."""
        if self._closed:
            return
        if incoming is not None:
            self._incoming[peer] = incoming
        self._inbox.append((Arrived(peer, frames), pipe))
        if not self._flushing and not self._reading and self._sink is not None:
            self._flushing = True
            self.process.call_next(self._flush)

    def forget(self, peer: Peer, connection: Connection) -> None:
        """The link by which a dialer reached us is gone."""
        self._served.pop(connection, None)
        if self._incoming.get(peer) is connection:
            del self._incoming[peer]

    def give_back(
        self, peer: Peer, frames: list[Frame], reason: Literal["unknown", "unreachable", "full", "closed"]
    ) -> None:
        """Say through the sink, later, that frames were not taken."""
        self.counters.undeliverable += len(frames)
        if self._inbox:
            last, _ = self._inbox[-1]
            if isinstance(last, Undeliverable) and last.peer == peer and last.reason == reason:
                last.frames.extend(frames)  # type: ignore[attr-defined]  # still ours: a list of our own making
                return
        self._post(Undeliverable(peer, list(frames), reason), None)

    # -- the sink ------------------------------------------------------------------------------------------------

    def _post(self, arrival: Arrival, pipe: Pipe[Frame] | None) -> None:
        self._inbox.append((arrival, pipe))
        if not self._flushing and not self._reading and self._sink is not None:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flushing = True
        self.process.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        inbox, self._inbox = self._inbox, []
        arrivals: list[Arrival] = []
        room, counters = self.settings.drain, self.counters
        for index, (arrival, pipe) in enumerate(inbox):
            count = len(arrival.frames)
            if count > room:
                arrival, rest = _split(arrival, room)
                inbox[index] = rest, pipe
                self._inbox = inbox[index:]
                count = room
            room -= count
            if count == 0:
                break
            if pipe is not None:
                pipe.taken(count)
                counters.frames_received += count
                for frame in arrival.frames:
                    counters.bytes_received += sum(map(len, frame))
            arrivals.append(arrival)
            if self._inbox:
                break
        processor = self.process.processor
        cost = 0 if processor is None else sum(_cost(processor, frame) for one in arrivals for frame in _came(one))
        if cost and processor is not None:
            # It is read when PALM is through with what came before.
            self._reading = True
            processor.compute(0, partial(self._read, arrivals, processor, cost), own=True)
            return
        if self._inbox:
            self._flush_soon()
        if arrivals and self._sink is not None:
            self._sink(arrivals)

    def _read(self, arrivals: list[Arrival], processor: Processor, cost: int) -> None:
        self._reading = False
        processor.compute(cost, lambda: None, own=True)
        if self._inbox and not self._flushing:
            self._flush_soon()
        if self._sink is not None:
            self._sink(arrivals)


def _came(arrival: Arrival) -> Sequence[Frame]:
    return arrival.frames if isinstance(arrival, Arrived) else ()


def _cost(processor: Processor, frame: Frame) -> int:
    """What a frame costs whoever gives or takes it (ns)."""
    costs = processor.costs
    return costs.frame + (costs.message * messages_in(frame) if costs.message else 0)


def _split(arrival: Arrival, at: int) -> tuple[Arrival, Arrival]:
    """The first `at` frames, and the others."""
    one, other = list(arrival.frames[:at]), list(arrival.frames[at:])
    if isinstance(arrival, Arrived):
        return Arrived(arrival.peer, one), Arrived(arrival.peer, other)
    return Undeliverable(arrival.peer, one, arrival.reason), Undeliverable(arrival.peer, other, arrival.reason)
