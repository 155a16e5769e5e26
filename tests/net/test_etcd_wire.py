"""PALM's own etcd messages against etcd's public ones, as the `etcd3` package carries them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from google.protobuf.descriptor import Descriptor

from palm.wire import etcd as wire
from palm.wire import etcd_pb2

# `etcd3` 0.12 was generated for an old protobuf; it loads in pure Python only, so in a process of its own.
_DUMP = """
import json
from etcd3.etcdrpc import kv_pb2, rpc_pb2
def fields(message):  # or a file
    enums = message.enum_types_by_name.items()
    own = getattr(message, "fields", ())
    return {"fields": {field.name: [field.number, field.type, field.is_repeated] for field in own},
            "enums": {name: {value.name: value.number for value in enum.values} for name, enum in enums}}
print(json.dumps({"": fields(rpc_pb2.DESCRIPTOR)} | {name: fields(message) for file in (kv_pb2, rpc_pb2)
                  for name, message in file.DESCRIPTOR.message_types_by_name.items()}))
"""
# Newer than the protocol in `etcd3` 0.12.
_NEWER = {
    "LeaseLeasesResponse": {},
    "StatusResponse": {"raft_applied_index": 7, "errors": 8, "db_size_in_use": 9, "is_learner": 10},
    "WatchCreateRequest": {"watch_id": 7, "fragment": 8},
    "WatchRequest": {"progress_request": 3},
    "WatchResponse": {"fragment": 7},
    "WatchProgressRequest": {},
    "Kind": {"CORRUPT": 2},
}
_RENAMED = {"granted_ttl": "grantedTTL", "db_size": "dbSize", "raft_index": "raftIndex", "raft_term": "raftTerm"}
_ENUMS = {"Action": "AlarmAction", "Kind": "AlarmType"}
_RENAMED_IN = {
    "ResponseHeader": {"raft_term": "raft_term"},
    "LeaseStatus": {},
    "AlarmRequest": {"member_id": "memberID"},
    "AlarmMember": {"member_id": "memberID"},
}


def public_messages() -> dict[str, dict[str, dict[str, Any]]]:  # numbers and kinds of fields, values of enums
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    dumped = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DUMP], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(dumped.stdout)  # type: ignore[no-any-return]  # json's values


def their_name(message: Descriptor, name: str) -> str:
    if name in ("id", "ttl"):
        return name.upper()
    return _RENAMED_IN.get(message.name, _RENAMED).get(name, name)


def test_rule_01_own_messages_have_etcds_field_numbers_and_types() -> None:
    """Every field of every message has the number, type and label that etcd's public API gives it."""
    public = public_messages()
    compared = 0
    for name, message in etcd_pb2.DESCRIPTOR.message_types_by_name.items():
        newer = _NEWER.get(name, {})
        if name not in public:
            assert name in _NEWER, f"etcd has no message {name}"
            continue
        for field in message.fields:
            if field.name in newer:
                assert field.number == newer[field.name]
                continue
            theirs = public[name]["fields"][their_name(message, field.name)]
            assert [field.number, field.type, field.is_repeated] == theirs, (name, field.name)
            compared += 1
        for enum, values in message.enum_types_by_name.items():
            theirs = public[name]["enums"].get(_ENUMS.get(enum, enum)) or public[""]["enums"][_ENUMS[enum]]
            ours = {value.name: value.number for value in values.values}
            assert ours == {**theirs, **_NEWER.get(enum, {})}, (name, enum)
    assert compared > 90


def test_rule_01_messages_live_in_a_package_of_their_own() -> None:
    """So that another etcd client's messages can be in the same process."""
    assert etcd_pb2.DESCRIPTOR.package == "palm.etcd"
    assert not etcd_pb2.DESCRIPTOR.services_by_name


def test_rule_01_methods_are_called_by_etcds_paths() -> None:
    """The table has each method under the path that etcd serves it at."""
    assert wire.METHODS["/etcdserverpb.KV/Range"] is wire.RANGE
    assert wire.METHODS["/etcdserverpb.Watch/Watch"].streaming
    assert all(path == method.path for path, method in wire.METHODS.items())


def test_prefix_end_is_the_first_key_after_the_prefix() -> None:
    """The last byte is counted up; trailing 0xff are dropped; nothing left means to the end."""
    ends = {b"/palm/": b"/palm0", b"a\xff": b"b", b"\xff\xff": b"\0", b"": b"\0", "é".encode(): b"\xc3\xaa"}
    assert {prefix: wire.prefix_end(prefix) for prefix in ends} == ends
