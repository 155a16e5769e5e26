"""Parts of messages in the nodes: how a client gathers them, and what a server sends, remembers and joins."""

from __future__ import annotations

from dataclasses import replace

from palm.core.effect import Invoke, Send
from palm.core.event import Finished, InstanceUp, Listed, Received, Taken
from palm.core.message import Batch, Header, Payload, Split, Status
from palm.core.route import parse_route
from palm.core.server import ServerNode
from palm.core.share import divide, path_of
from palm.testing.harness import Harness
from tests.core.cast import BOTH, CLIENT, FIRST, JOB, Client, Server, batch_of, instance_of, peer_of

ZIPPED = parse_route(["one.f", "two.g"])


def parts_to(client: Client, items: list[int], payloads: list[Payload], statuses: list[int] | None = None) -> None:
    header = Header(JOB, FIRST, 1, parts=True)
    client.post(Received(peer_of("one"), Batch(header, 0, items, payloads, None, None, statuses)))


def opened(**more: object) -> Client:
    client = Client()
    client.up()
    client.open(**more)  # type: ignore[arg-type]  # by name
    client.offer(b"a", b"b")
    return client


def test_a_message_is_delivered_once_all_its_parts_are_there() -> None:
    """In the order of paths, as one outcome; what waits counts as held."""
    client = opened()
    first, second = divide(0, 0, 9, 2)
    parts_to(client, [second], [b"two"])
    assert client.delivered() == [] and client.node.jobs[1].held_bytes == 2 + 3
    parts_to(client, [second, first], [b"two", b"one"])
    (item,) = client.delivered()
    assert (item.sequence, item.payload, item.status) == (0, (b"one", b"two"), Status.MANY)
    client.post(Taken(1, 1, 1, 6))
    assert client.node.jobs[1].held_bytes == 1
    assert client.ledger() == (2, 1, 0, 0, 0, 1)


def test_a_message_fails_as_its_first_part_that_failed() -> None:
    """Once all parts have ended; what was filtered out is no failure."""
    client = opened()
    parts = divide(0, 0, 9, 3)
    parts_to(client, parts, [b"", b"why", b"late"], [Status.EMPTY, Status.FAILED, Status.EXPIRED])
    (item,) = client.delivered()
    assert (item.payload, item.status) == (b"why", Status.FAILED)
    assert client.ledger() == (2, 0, 1, 0, 0, 1)


def test_a_message_without_results_is_delivered() -> None:
    """An empty answer, whole or of every part."""
    client = opened()
    client.answer(1, statuses=[Status.EMPTY], payloads=[b""])
    parts_to(client, divide(0, 0, 9, 2), [b"", b""], [Status.EMPTY] * 2)
    assert [(item.sequence, item.payload, item.status) for item in client.delivered()] == [
        (1, (), Status.MANY),
        (0, (), Status.MANY),
    ]
    client.post(Taken(1, 2, 2, 0))
    assert client.ledger() == (2, 2, 0, 0, 0, 0)


def test_a_part_that_is_turned_away_sends_its_message_again() -> None:
    """The client owns messages, not parts; what has come of it already is kept."""
    client = opened()
    first, second = divide(0, 0, 9, 2)
    parts_to(client, [first, second], [b"one", b""], [Status.OK, Status.BUSY])
    client.forget()
    client.advance(0.1)
    assert [item.sequence for item in client.sent_to(peer_of("one"))] == [0]
    parts_to(client, [second], [b"two"])
    assert [item.payload for item in client.delivered()] == [(b"one", b"two")]


def test_parts_of_a_message_that_has_ended_are_duplicates() -> None:
    """Late ones change nothing and hold nothing."""
    client = opened()
    parts = divide(0, 0, 9, 2)
    parts_to(client, parts, [b"one", b"two"])
    held = client.node.jobs[1].held_bytes
    parts_to(client, parts, [b"one", b"two"])
    assert len(client.delivered()) == 1 and client.node.jobs[1].duplicates == 2
    assert client.node.jobs[1].held_bytes == held and not client.node.jobs[1].gathering


def test_a_server_sends_the_parts_of_a_split_and_sends_them_again() -> None:
    """To the next stage under the header of parts; a repeat has the same identities, and goes to the same instance."""
    server = Server()
    server.receive(0, 1, header=Header(JOB, BOTH, 0))
    (invoke,) = server.of(Invoke)
    split = Split(9, ((1, b"x"), (1, b"y")))
    server.up("two", 0)
    server.up("two", 1)
    server.post(Finished(invoke.ticket, [0, 1], [split, b""], [Status.MANY, Status.EMPTY]))
    (parts, empty) = sorted(server.of(Send), key=lambda send: send.batch.header.parts, reverse=True)
    assert parts.batch.sequences == divide(0, 0, 9, 2) and parts.batch.payloads == [b"x", b"y"]
    assert empty.batch.sequences == [1] and empty.batch.statuses == [Status.EMPTY]
    server.forget()
    server.receive(0, header=Header(JOB, BOTH, 0), attempts=[2])
    (again,) = server.of(Send)
    assert (again.peer, again.batch.sequences) == (parts.peer, parts.batch.sequences)


def test_a_server_runs_each_part_once_and_forgets_it_with_its_message() -> None:
    """Dedup by part; the watermark counts messages."""
    server = Server()
    header = Header(JOB, FIRST, 0, parts=True)
    first, second = divide(0, 0, 9, 2)
    for _ in range(2):
        server.post(Received(CLIENT, Batch(header, 0, [first, second], [b"x", b"y"])))
    assert server.invoked() == [first, second]
    server.finish()
    server.receive(5, watermark=1)
    assert server.node.held() == ["remembers 1 messages of job 1"]


class Sink(Harness):
    node: ServerNode

    def __init__(self, join: str) -> None:
        super().__init__(ServerNode(peer=peer_of("two"), server="two", functions=("g",), join=join))  # type: ignore[arg-type]  # one of them
        Server.greet(self, CLIENT)  # type: ignore[arg-type]  # it greets any server
        self.header = Header(JOB, ZIPPED, 1)

    @property
    def peer(self) -> str:
        return self.node.peer

    def receive(self, *items: int, watermark: int = 0, statuses: list[int] | None = None) -> None:
        for i, item in enumerate(items):
            status = None if statuses is None else [statuses[i]]
            path = "".join(str(step.place) for step in path_of(item))
            payload = b"%d/%s" % (int(item), path.encode())
            under = self.header.of(item)
            batch = batch_of(item, header=under, watermark=watermark, payloads=[payload], statuses=status)
            self.post(Received(CLIENT, batch))

    def ran(self) -> list[Payload]:
        return [payload for invoke in self.of(Invoke) for payload in invoke.batch.payloads]


def test_a_zip_runs_once_with_all_parts_and_answers_repeats() -> None:
    """In the order of paths, None for what was filtered out; the result is whole again."""
    sink = Sink("zip")
    parts = divide(0, 0, 9, 3)
    sink.receive(parts[2], parts[0], parts[2])
    assert sink.ran() == []
    sink.receive(parts[1], statuses=[Status.EMPTY])
    assert sink.ran() == [(b"0/0", None, b"0/2")]
    (invoke,) = sink.of(Invoke)
    sink.post(Finished(invoke.ticket, invoke.batch.sequences, [b"joined"], None))
    sink.forget()
    sink.receive(parts[1])
    assert [item.payload for item in sink.sent_to(CLIENT)] == [b"joined"] and sink.ran() == []
    sink.receive(7, watermark=1)
    assert sink.node.held() == ["remembers 1 messages of job 1"]


def test_a_zip_passes_a_failure_on_without_running() -> None:
    """Once all parts are there, as the first that failed; nothing of nothing is nothing."""
    sink = Sink("zip")
    sink.receive(*divide(0, 0, 9, 2), statuses=[Status.OK, Status.FAILED])
    sink.receive(*divide(1, 0, 9, 2), statuses=[Status.EMPTY, Status.EMPTY])
    assert sink.ran() == []
    assert [(item.sequence, item.status) for item in sink.sent_to(CLIENT)] == [(0, Status.FAILED), (1, Status.EMPTY)]


def test_an_ordered_sink_runs_messages_in_the_order_sent() -> None:
    """What is early waits for what is before it, or until that has ended elsewhere."""
    sink = Sink("order")
    second = divide(1, 0, 9, 2)
    sink.receive(second[1], 3, 0)
    assert sink.ran() == [b"0/"]
    sink.receive(second[0])
    assert sink.ran() == [b"0/", b"1/0", b"1/1"]
    sink.receive(4, watermark=3)
    assert sink.ran() == [b"0/", b"1/0", b"1/1", b"3/", b"4/"]


def test_all_who_send_to_a_sink_choose_one_instance_of_it_for_a_job() -> None:
    """Whatever they know of its load, and in whatever order it appeared; nothing goes before all are known."""
    chosen = set()
    for order in ((0, 1, 2), (2, 1, 0)):
        server = Server()
        server.receive(*range(5), header=Header(JOB, BOTH, 0))
        server.finish()
        for index in order:
            server.post(InstanceUp(replace(instance_of("two", index), kind="SinkServer")))
        assert server.of(Send) == []
        server.post(Listed("two"))
        chosen |= {send.peer for send in server.of(Send)}
    assert len(chosen) == 1
