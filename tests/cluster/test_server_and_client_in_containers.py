"""A server in one container, a client in another, etcd in a third: they find each other by the registry alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.support.containers import etcd_members_on, python_image

pytestmark = pytest.mark.containers

SERVER = '''
from palm import RegisteredServer, run_server


class Shouting(RegisteredServer):
    def shout(self, message):
        return message.upper() + b"!"


if __name__ == "__main__":
    run_server(Shouting, "my_server", ["shout"])
'''
ETCD = "http://etcd:2379"
CLIENT_S = 60


@pytest.fixture
def server_file(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


@contextmanager
def palm(network: Network, *arguments: str, file: Path | None = None) -> Iterator[DockerContainer]:
    """`python -m palm ARGUMENTS` in a container of its own, with `file` beside it; removed after."""
    container = DockerContainer(python_image()).with_network(network).with_command(["-m", "palm", *arguments])
    if file is not None:
        container.with_volume_mapping(file, f"/app/{file.name}")
    with container:
        yield container


def logs(container: DockerContainer) -> str:
    return str(container.get_wrapped_container().logs(), errors="replace")


def ended(container: DockerContainer) -> tuple[int, str]:
    """The exit code and the standard output of a container that ends by itself."""
    wrapped = container.get_wrapped_container()
    code = int(wrapped.wait(timeout=CLIENT_S)["StatusCode"])
    return code, wrapped.logs(stdout=True, stderr=False).decode()


def test_client_in_one_container_is_answered_by_a_server_in_another(server_file: Path) -> None:
    """`palm call` prints what the server's function returned, and nobody was told an address but etcd's."""
    with Network() as network, etcd_members_on(network, "etcd"):
        with palm(network, "run", "/app/server.py", "--etcd", ETCD, file=server_file) as server:
            with palm(network, "call", "my_server.shout", "hello", "--etcd", ETCD, "--timeout", "30") as client:
                code, printed = ended(client)
                assert (code, printed.strip()) == (0, "HELLO!"), f"client: {logs(client)}\nserver: {logs(server)}"


def test_client_that_starts_before_its_server_is_answered(server_file: Path) -> None:
    """The order of starting does not matter: the client waits for a server that comes later."""
    with Network() as network, etcd_members_on(network, "etcd"):
        with palm(network, "call", "my_server.shout", "early", "--etcd", ETCD, "--timeout", "30") as client:
            with palm(network, "run", "/app/server.py", "--etcd", ETCD, file=server_file) as server:
                code, printed = ended(client)
                assert (code, printed.strip()) == (0, "EARLY!"), f"client: {logs(client)}\nserver: {logs(server)}"


def test_server_in_a_container_drains_when_it_is_told_to_stop(server_file: Path) -> None:
    """SIGTERM, as `docker stop` sends it, ends the server with exit code 0 and its record gone from etcd."""
    with Network() as network, etcd_members_on(network, "etcd") as (etcd,):
        with palm(network, "run", "/app/server.py", "--etcd", ETCD, file=server_file) as server:
            with palm(network, "call", "my_server.shout", "hello", "--etcd", ETCD, "--timeout", "30") as client:
                assert ended(client)[0] == 0, f"client: {logs(client)}\nserver: {logs(server)}"
            wrapped = server.get_wrapped_container()
            assert etcd.etcdctl("get", "--prefix", "", "--keys-only").strip(), "it was registered"
            wrapped.stop(timeout=10)
            assert wrapped.wait()["StatusCode"] == 0, logs(server)
            assert "my_server" not in etcd.etcdctl("get", "--prefix", "", "--keys-only")
