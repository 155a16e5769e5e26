"""Links: greeting, beats, suspicion, and the sleep that is nobody's fault but our own."""

from __future__ import annotations

from palm.core.effect import Dial, HangUp, Tell
from palm.core.links import BEAT, SUSPECT, Links
from palm.core.message import PROTOCOL_VERSION, Hello, Ping, Pong, Refused, Welcome
from tests.core.cast import instance_of, peer_of

ONE, TWO = peer_of("one"), peer_of("two")


def links_to(*servers: str) -> Links:
    links = Links(cluster="palm", name="me")
    for server in servers:
        links.add(instance_of(server), 0)
    return links


def beats(links: Links, until: int, *, heard: tuple[str, ...] = ()) -> list[int]:
    """Tick at every deadline up to `until`; when the pings went."""
    at = []
    while links.deadline is not None and links.deadline <= until:
        now = links.deadline
        if links.tick(now):
            at.append(now)
        for server in heard:
            links.heard(peer_of(server), now)
    return at


def test_an_instance_is_dialed_and_greeted_by_the_name_of_its_life() -> None:
    """Dial first, then Hello with whom we expect there."""
    links = Links(cluster="palm", name="me")
    assert links.add(instance_of("one"), 0) == [
        Dial(ONE, instance_of("one").address),
        Tell(ONE, Hello(PROTOCOL_VERSION, ONE, "palm", "me")),
    ]
    assert links.add(instance_of("one"), 5) == []


def test_every_link_gets_a_ping_with_each_beat() -> None:
    """One beat serves all; numbers go up."""
    links = links_to("one", "two")
    assert links.deadline == BEAT
    assert links.tick(BEAT - 1) == []
    assert links.tick(BEAT) == [Tell(ONE, Ping(1)), Tell(TWO, Ping(1))]
    assert links.tick(2 * BEAT) == [Tell(ONE, Ping(2)), Tell(TWO, Ping(2))]


def test_without_links_there_is_no_beat() -> None:
    """Nobody to ping: no deadline, before the first link and after the last."""
    links = links_to()
    assert links.deadline is None
    links.add(instance_of("one"), 7)
    assert links.deadline == 7 + BEAT
    assert links.remove(ONE, "one") == [HangUp(ONE)]
    assert links.deadline is None and links.remove(ONE, "one") == []


def test_a_silent_peer_is_suspected_after_its_time_and_not_before() -> None:
    """Usable up to 1.5 s of silence, suspected with the next beat."""
    links = links_to("one")
    link = links.get(ONE)
    assert link is not None
    beats(links, SUSPECT)
    assert link.usable
    beats(links, SUSPECT + BEAT)
    assert link.suspected and not link.usable


def test_whoever_is_heard_is_not_suspected() -> None:
    """Anything that arrives counts; hearing a suspect clears it, and says so once."""
    links = links_to("one", "two")
    assert beats(links, 4 * SUSPECT, heard=("two",)) == [BEAT * n for n in range(1, 13)]
    one, two = links.get(ONE), links.get(TWO)
    assert one is not None and two is not None and one.suspected and not two.suspected
    assert links.heard(ONE, 4 * SUSPECT) and one.usable
    assert not links.heard(ONE, 4 * SUSPECT)
    assert not links.heard(peer_of("nobody"), 0)


def test_silence_while_we_slept_is_our_own() -> None:
    """A process that was stopped for 10 s suspects nobody at once, and still finds the dead within the usual time."""
    links = links_to("one")
    link = links.get(ONE)
    assert link is not None
    links.tick(BEAT)
    links.tick(20 * BEAT)
    assert not link.suspected
    beats(links, 20 * BEAT + SUSPECT)
    assert link.suspected


def test_a_stranger_greets_again_and_a_refusal_is_kept() -> None:
    """STRANGER: the peer has forgotten us. Any other refusal makes the link useless, with its text kept."""
    links = links_to("one")
    link = links.get(ONE)
    assert link is not None
    assert links.told(ONE, Refused("STRANGER", "")) == [Tell(ONE, Hello(PROTOCOL_VERSION, ONE, "palm", "me"))]
    assert link.usable
    assert links.told(ONE, Refused("NOT_ME", "somebody else")) == []
    assert not link.usable and link.refused is not None and link.refused.text == "somebody else"
    assert links.told(peer_of("nobody"), Welcome(1)) == []


def test_a_draining_instance_is_not_used_whoever_says_so() -> None:
    """Its record or its own Pong; once leaving, it does not come back."""
    links = links_to("one", "two")
    one, two = links.get(ONE), links.get(TWO)
    assert one is not None and two is not None
    links.add(instance_of("one", draining=True), 1)
    links.told(TWO, Pong(1, draining=True))
    assert not one.usable and not two.usable
    links.add(instance_of("one", draining=False), 2)
    assert not one.usable


def test_one_peer_belongs_to_one_server() -> None:
    """A record that shows a known peer under another server's name changes nothing, nor does that record's end."""
    links = links_to("one")
    stolen = instance_of("one")
    assert links.add(type(stolen)(server="two", peer=ONE, address="sim://x:1", functions=("f",)), 1) == []
    assert list(links.of("one")) == [ONE] and not links.of("two")
    assert links.remove(ONE, "two") == [] and ONE in links
    assert links.remove(ONE, "one") == [HangUp(ONE)] and not links.of("one")
