"""Registry records: what is written reads back, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.core.message import Instance, Peer
from palm.wire.record import (
    MAX_RECORD_BYTES,
    client_key,
    cluster_prefix,
    decode_instance,
    encode_client,
    encode_instance,
    instance_key,
    instances_prefix,
)
from tests.wire.shapes import NAMES, PEERS

PEER = Peer("peer-00000000000")
KEY = instance_key("palm", "one", PEER)
GOOD = Instance(server="one", peer=PEER, address="tcp://10.0.0.1:4711", functions=("f", "g"), host="h", pid=3)


def changed(**fields: Any) -> bytes:
    record = json.loads(encode_instance(GOOD))
    record.update(fields)
    return json.dumps(record).encode()


@given(
    st.builds(
        Instance,
        server=NAMES,
        peer=PEERS,
        address=st.integers(1, 65_535).map(lambda port: f"tcp://127.0.0.1:{port}"),
        functions=st.lists(NAMES, max_size=5).map(tuple),
        kind=st.text(max_size=20),
        host=st.text(max_size=20),
        pid=st.integers(0, 2**31),
        started_ms=st.integers(0, 2**42),
        draining=st.booleans(),
        protocol=st.integers(1, 9),
        join=st.sampled_from(["", "arrival", "order", "zip"]),
        every=st.integers(0, 2**31),
        outputs=st.dictionaries(NAMES, st.lists(NAMES, max_size=3).map(tuple), max_size=3).map(
            lambda outputs: tuple(outputs.items())
        ),
    )
)
def test_records_read_back(instance: Instance) -> None:
    """Every field, under its own key."""
    key = instance_key("palm", instance.server, instance.peer)
    assert decode_instance(key, encode_instance(instance)) == instance


def test_a_record_is_json_that_a_person_can_read() -> None:
    """`etcdctl get` shows it as it is; nothing is escaped away."""
    assert json.loads(encode_instance(GOOD))["address"] == "tcp://10.0.0.1:4711"
    assert json.loads(encode_client("me", "here")) == {"name": "me", "host": "here"}


def test_prefixes_end_with_a_slash() -> None:
    """So that `one` does not find `one2`, nor cluster `a` cluster `a2`."""
    assert KEY.startswith(instances_prefix("palm", "one")) and KEY.startswith(instances_prefix("palm"))
    assert not instance_key("palm", "one2", PEER).startswith(instances_prefix("palm", "one"))
    for prefix in (cluster_prefix("palm"), instances_prefix("palm"), instances_prefix("palm", "one")):
        assert prefix.endswith("/")
    assert client_key("palm", PEER).startswith(cluster_prefix("palm"))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"1e999",
        b"[" * 3_000,
        changed(kind="x" * 5 * 1024),
        changed(server="two"),
        changed(server=["one"]),
        changed(server=None),
        changed(peer="peer-00000000001"),
        changed(peer=None),
        changed(functions="fg"),
        changed(functions={"f": 1}),
        changed(functions=None),
        changed(functions=7),
        changed(functions=["f", "__init__.x"]),
        changed(functions=["f", 7]),
        changed(functions=[["f"]]),
        changed(pid="many"),
        changed(pid=None),
        changed(pid=[1]),
        changed(started_ms={}),
        changed(address=None),
        changed(address=""),
        changed(address="nowhere"),
        changed(address="ipc:///run/x"),
        changed(address="tcp://host"),
        changed(address="tcp://host:port"),
        changed(address="tcp://a b:1"),
        encode_instance(GOOD).replace(b'"pid":3', b'"pid":Infinity'),
        encode_instance(GOOD).replace(b'"pid":3', b'"pid":1e999'),
        encode_instance(GOOD).replace(b'"pid":3', b'"pid":NaN'),
        encode_instance(GOOD).replace(b'"pid":3', b'"pid":' + b"9" * 4_000),
    ],
)
def test_a_record_that_is_not_ours_is_none(value: bytes) -> None:
    """Garbage, too large, another's name, functions that are no names, figures that are none: not believed, never
    raised."""
    assert decode_instance(KEY, value) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/palm/palm/instances/one",
        KEY + "/more",
        KEY.replace("instances", "clients"),
        KEY.replace("/one/", "/two/"),
        KEY[:-1] + "x",
        KEY.replace("palm", "", 1),
    ],
)
def test_a_record_under_a_foreign_key_is_none(key: str) -> None:
    """The key must say what the record says."""
    assert decode_instance(KEY, encode_instance(GOOD)) == GOOD
    assert decode_instance(key, encode_instance(GOOD)) is None


def test_a_record_of_the_most_that_is_read_is_read() -> None:
    """4 KiB, and not a byte more."""
    room = MAX_RECORD_BYTES - len(encode_instance(replace(GOOD, host="")))
    assert decode_instance(KEY, encode_instance(replace(GOOD, host="x" * room))) is not None
    assert decode_instance(KEY, encode_instance(replace(GOOD, host="x" * (room + 1)))) is None


def test_a_peer_that_is_no_routing_id_is_none() -> None:
    """Names of servers and ids of peers are checked when they are read."""
    for peer in ("short", "x" * 65, "peer.00000000000", "peer-0000000000\n"):
        instance = replace(GOOD, peer=Peer(peer))
        assert decode_instance(instance_key("palm", "one", instance.peer), encode_instance(instance)) is None
    bad = replace(GOOD, server="a b")
    assert decode_instance(instance_key("palm", "a b", PEER), encode_instance(bad)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["server", "peer", "address", "functions", "kind", "host", "pid", "started_ms", "draining", "protocol"]


@settings(max_examples=500)
@given(st.sampled_from(FIELDS), JSON)
def test_any_json_in_any_field_is_read_or_refused(field: str, value: object) -> None:
    """An instance with fields of the right types, or None."""
    found = decode_instance(KEY, changed(**{field: value}))
    if found is not None:
        assert (found.server, found.peer) == ("one", PEER)
        assert all(isinstance(text, str) for text in (found.address, found.kind, found.host, *found.functions))
        assert type(found.pid) is type(found.started_ms) is type(found.protocol) is int
        assert type(found.draining) is bool


@settings(max_examples=500)
@given(st.binary(max_size=80))
def test_any_bytes_are_no_record(value: bytes) -> None:
    """None of them is believed, and none raises."""
    assert decode_instance(KEY, value) is None
