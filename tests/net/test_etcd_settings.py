"""Settings are checked when they are made, and verdicts looked up without a server."""

from __future__ import annotations

import grpc
import pytest

from palm.errors import AuthRefused, BadRequest, Compacted, LeaseLost, RegistryRefused, RegistryUnavailable
from palm.net.etcd.answers import Fate, judge
from palm.net.etcd.settings import EtcdSettings
from palm.net.registry import EtcdRegistry


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": "127.0.0.1:2379"}, "tuple"),
        ({"endpoints": ("127.0.0.1",)}, "host:port"),
        ({"endpoints": ("127.0.0.1:70000",)}, "host:port"),
        ({"endpoints": ("http://a:1", "https://b:1")}, "mix"),
        ({"endpoints": ("http://a:1",), "ca": "ca.pem"}, "https"),
        ({"ca": "ca.pem", "cert": "c.pem"}, "cert and key"),
        ({"cert": "c.pem", "key": "k.pem"}, "TLS"),
        ({"password": "x"}, "user"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"probe_s": -1}, "probe_s"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(wrong: dict[str, object], named: str) -> None:
    """The error names the field and what it should be."""
    with pytest.raises(BadRequest, match=named):
        EtcdSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_endpoints_may_have_a_scheme() -> None:
    """What is dialed is host:port; https means TLS."""
    settings = EtcdSettings(endpoints=("https://one:1", "https://[::1]:2/"))
    assert settings.targets == ("one:1", "[::1]:2")
    assert settings.secure
    assert not EtcdSettings(endpoints=("one:1", "http://two:2")).secure


def test_settings_do_not_show_the_password() -> None:
    """Neither repr nor str holds it."""
    assert "secret" not in repr(EtcdSettings(user="palm", password="secret"))


def test_a_certificate_that_cannot_be_read_is_told_at_once() -> None:
    """The error names the field and the file."""
    with pytest.raises(BadRequest, match="ca file 'no-such.pem'"):
        EtcdRegistry(EtcdSettings(ca="no-such.pem"))


@pytest.mark.parametrize(
    ("code", "text", "fate", "error"),
    [
        (grpc.StatusCode.UNKNOWN, "context deadline exceeded", Fate.UNSURE, RegistryUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out", Fate.UNSURE, RegistryUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: leader changed", Fate.UNSURE, RegistryUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader", Fate.UNSENT, RegistryUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Fate.UNSURE, RegistryUnavailable),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", Fate.TOKEN, AuthRefused),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Fate.REFUSED, AuthRefused),
        (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found", Fate.REFUSED, LeaseLost),
        (
            grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            Fate.REFUSED,
            Compacted,
        ),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
            Fate.REFUSED,
            RegistryRefused,
        ),
    ],
)
def test_rule_08_answers_are_told_apart(code: grpc.StatusCode, text: str, fate: Fate, error: type[Exception]) -> None:
    """What another endpoint may still answer is not what etcd has refused; Go's own deadline error is the former."""
    verdict = judge(code, text)
    assert (verdict.fate, verdict.error) == (fate, error)
