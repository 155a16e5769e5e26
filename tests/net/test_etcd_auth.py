"""Rules 10 and 15: tokens, passwords and certificates, against real etcd."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from palm.errors import AuthRefused, RegistryUnavailable
from palm.net.registry import EtcdRegistry, EtcdSettings
from palm.ports.registry import Revision
from tests.support.aio import in_loop
from tests.support.etcd import FLAVOURS, Cluster, etcd, etcd_with_auth

PREFIX = "/palm/"
TOKEN_TTL_S = 2


@pytest.fixture(scope="module", params=FLAVOURS)
def guarded(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Authentication is on, and a token that is not used dies after two seconds."""
    with etcd_with_auth(request.param, flags=[f"--auth-token-ttl={TOKEN_TTL_S}"]) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=FLAVOURS)
def secure(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Speaks TLS, and wants a client certificate."""
    with etcd(request.param, tls=True, client_cert=True) as cluster:
        yield cluster


@asynccontextmanager
async def opened(settings: EtcdSettings) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(settings)
    try:
        yield registry
    finally:
        await registry.aclose()


def authentications(cluster: Cluster) -> int:
    return sum(member.calls("Authenticate") for member in cluster.members)


@in_loop
async def test_rule_10_a_token_that_expired_is_replaced_unseen(guarded: Cluster) -> None:
    """Idle past the token's life, then many calls at once: no error, and one authentication more."""
    async with opened(guarded.settings(user="palm", password="secret")) as registry:
        await registry.put(PREFIX + "k", b"")
        before = authentications(guarded)
        await asyncio.sleep(2.5 * TOKEN_TTL_S)
        await asyncio.gather(*(registry.put(f"{PREFIX}{number}", b"") for number in range(20)))
        assert authentications(guarded) == before + 1


@in_loop
async def test_rule_10_a_watch_begins_with_a_fresh_token(guarded: Cluster) -> None:
    """These versions say "permission denied" to a watch whose token has expired: it is not taken for the truth."""
    async with opened(guarded.settings(user="palm", password="secret")) as registry:
        revision = await registry.put(PREFIX + "watched", b"")
        before = authentications(guarded)
        await asyncio.sleep(2.5 * TOKEN_TTL_S)
        watch = registry.watch(PREFIX + "watched", Revision(revision - 1))
        async with asyncio.timeout(5):
            (change,) = await anext(watch)
        assert change.record.mod_revision == revision
        assert authentications(guarded) == before + 1


@pytest.mark.parametrize("flavour", FLAVOURS)
@in_loop
async def test_rule_10_a_restarted_etcd_has_forgotten_tokens(flavour: str) -> None:
    """Calls, renewals and a watch go on after a restart, without an error."""
    with etcd_with_auth("debian" if flavour == "debian" else "wheel") as cluster:
        async with opened(cluster.settings(user="palm", password="secret", probe_s=0.5)) as registry:
            lease = await registry.grant(30)
            first = await registry.put(PREFIX + "k", b"", lease.id)
            watch = registry.watch(PREFIX, Revision(first - 1))
            await anext(watch)
            await asyncio.to_thread(cluster.members[0].restart)
            assert await registry.keep_alive(lease.id) == 30
            second = await registry.put(PREFIX + "k", b"", lease.id)
            async with asyncio.timeout(5):
                (change,) = await anext(watch)
            assert change.record.mod_revision == second


@in_loop
async def test_rule_10_a_refused_password_is_said_once(guarded: Cluster) -> None:
    """Definite, names endpoint, cause and way out; etcd is asked once, however often the caller tries, and fast."""
    before = authentications(guarded)
    async with opened(guarded.settings(user="palm", password="wrong")) as registry:
        for call in (registry.get(PREFIX), registry.put(PREFIX + "k", b""), anext(registry.watch(PREFIX, Revision(0)))):
            begun_at = time.monotonic()
            with pytest.raises(AuthRefused) as told:
                await call
            assert time.monotonic() - begun_at < 2
            text = str(told.value)
            assert guarded.endpoints[0] in text and "invalid user ID or password" in text and "check the user" in text
            assert "wrong" not in text, "the password is shown to nobody"
    assert authentications(guarded) == before + 1


@in_loop
async def test_rule_10_an_etcd_that_wants_a_user_says_so(guarded: Cluster) -> None:
    """No user was given: calls and watches are refused, with what to give."""
    async with opened(guarded.settings()) as registry:
        with pytest.raises(AuthRefused, match="give user and password"):
            await registry.get(PREFIX)
        with pytest.raises(AuthRefused, match="watch"):
            await anext(registry.watch(PREFIX, Revision(0)))


@in_loop
async def test_rule_10_keys_outside_of_the_role_are_refused(guarded: Cluster) -> None:
    """Permission denied is definite, for calls and for watches."""
    async with opened(guarded.settings(user="palm", password="secret")) as registry:
        with pytest.raises(AuthRefused, match="permission denied"):
            await registry.put("/other/k", b"")
        async with asyncio.timeout(5):
            with pytest.raises(AuthRefused, match="permission denied"):
                await anext(registry.watch("/other/", Revision(0)))


@in_loop
async def test_rule_10_credentials_are_harmless_where_none_are_wanted() -> None:
    """etcd without authentication is used without a token, and with one as soon as it is switched on."""
    with etcd() as cluster:
        async with opened(cluster.settings(user="root", password="later")) as registry:
            await registry.put(PREFIX + "k", b"")
            await asyncio.to_thread(cluster.etcdctl, "user", "add", "root:later")
            await asyncio.to_thread(cluster.etcdctl, "user", "grant-role", "root", "root")
            await asyncio.to_thread(cluster.etcdctl, "auth", "enable")
            await registry.put(PREFIX + "k", b"")


@in_loop
async def test_tls_with_both_certificates_works(secure: Cluster) -> None:
    """Calls and a watch, over TLS, with a client certificate."""
    certificates = secure.certificates
    assert certificates is not None
    settings = secure.settings(cert=certificates.client_cert, key=certificates.client_key)
    async with opened(settings) as registry:
        revision = await registry.put(PREFIX + "k", b"")
        (change,) = await anext(registry.watch(PREFIX, Revision(revision - 1)))
        assert change.record.mod_revision == revision


# What a user's program does; it runs in a process of its own, so that all that reaches stderr is seen.
_WRONG_CA = """
import asyncio, sys, time
from palm.errors import AuthRefused
from palm.net.registry import EtcdRegistry, EtcdSettings
from palm.ports.registry import Revision

async def main():
    registry = EtcdRegistry(EtcdSettings(endpoints=(sys.argv[1],), ca=sys.argv[2]))
    for call in (registry.get("/palm/"), anext(registry.watch("/palm/", Revision(0)))):
        begun_at = time.monotonic()
        try:
            await call
        except AuthRefused as error:
            print(error)
        assert time.monotonic() - begun_at < 5
    await registry.aclose()

asyncio.run(main())
"""


def test_rule_15_a_failed_handshake_is_said_once_and_by_us(secure: Cluster) -> None:
    """A CA that signed nothing: one error within 5 s that names endpoint, cause, way out; nothing on stderr."""
    assert secure.certificates is not None
    ran = subprocess.run(
        [sys.executable, "-c", _WRONG_CA, secure.endpoints[0], secure.certificates.other_ca],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert len(lines) == 2
    assert all(secure.endpoints[0] in line and "CERTIFICATE_VERIFY_FAILED" in line for line in lines), lines
    assert all("check the ca, cert and key" in line for line in lines)


@in_loop
async def test_rule_15_a_missing_client_certificate_is_refused_in_time(secure: Cluster) -> None:
    """etcd wants a certificate and gets none: an error within the deadline that names the endpoint."""
    async with opened(secure.settings(timeout_s=2.0)) as registry:
        begun_at = time.monotonic()
        with pytest.raises((AuthRefused, RegistryUnavailable), match=secure.endpoints[0]):
            await registry.get(PREFIX)
        assert time.monotonic() - begun_at < 3


@pytest.mark.parametrize(("given", "seen"), [({}, "NONE"), ({"GRPC_VERBOSITY": "ERROR"}, "ERROR")])
def test_rule_15_grpc_is_silent_unless_the_user_wants_it(given: dict[str, str], seen: str) -> None:
    """The variable is set before grpc is imported, and never over the user's own."""
    code = "import palm.net.registry, os; print(os.environ['GRPC_VERBOSITY'])"
    environment = {"PYTHONPATH": ".", "PATH": "", **given}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    assert (ran.stdout.strip(), ran.stderr) == (seen, "")
