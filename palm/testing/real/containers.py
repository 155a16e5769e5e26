"""An etcd whose members are containers, for machines that have a container engine and no `etcd`: the same faults, by
the engine's own kill, pause and start. Needs `testcontainers`; the image is the user's choice."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from palm.errors import HarnessError
from palm.testing.real.etcd import RealEtcd, free_ports

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

# The reaper is an image that would have to be pulled; a run removes its containers itself.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

IMAGE = "PALM_ETCD_IMAGE"
_CLIENT, _PEER = 2379, 2380


def contained_etcd(count: int) -> RealEtcd:
    """Of that many containers on a network of their own, reached by ports of the loopback. Raises HarnessError where
    there is no image, no engine, or no `testcontainers`."""
    image = os.environ.get(IMAGE)
    if not image:
        raise HarnessError(
            f"--etcd containers needs an image whose entry point is etcd: name one by {IMAGE} (PALM's own sources "
            "make one: python tools/make_etcd_image.py)"
        )
    try:
        from docker.errors import DockerException
        from testcontainers.core.network import Network
    except ImportError as error:
        raise HarnessError("--etcd containers needs testcontainers: pip install testcontainers") from error
    stack = ExitStack()
    try:
        network = stack.enter_context(Network())
        names = [f"m{n}" for n in range(count)]
        initial = ",".join(f"{name}=http://{name}:{_PEER}" for name in names)
        members = [
            ContainedMember(image, network, name, port, initial)
            for name, port in zip(names, free_ports(count), strict=True)
        ]
        for member in members:
            stack.callback(member.remove)
    except (DockerException, OSError) as error:
        stack.close()
        raise HarnessError(f"--etcd containers needs an engine that answers, and has {image}: {error}") from error
    return RealEtcd(members, quick=False, close=stack.close)


class ContainedMember:
    def __init__(self, image: str, network: Network, name: str, port: int, initial: str) -> None:
        self.endpoint = f"127.0.0.1:{port}"
        self._is_made = False
        self._is_frozen = False
        self._container = _container(image).with_network(network).with_network_aliases(name)
        self._container.with_command([
            f"--name={name}",
            "--data-dir=/data",
            f"--listen-client-urls=http://0.0.0.0:{_CLIENT}",
            f"--advertise-client-urls=http://{self.endpoint}",
            f"--listen-peer-urls=http://0.0.0.0:{_PEER}",
            f"--initial-advertise-peer-urls=http://{name}:{_PEER}",
            f"--initial-cluster={initial}",
            "--logger=zap",
        ])
        # testcontainers' own method would listen on every address of the machine.
        ports: dict[str, object] = self._container.ports  # type: ignore[assignment]  # the engine's client takes pairs
        ports[f"{_CLIENT}/tcp"] = ("127.0.0.1", port)

    @property
    def is_up(self) -> bool:
        return self._is_made and self._state() in ("running", "paused", "created")

    def start(self) -> None:
        from docker.errors import DockerException

        try:
            if self._is_made:
                self._container.get_wrapped_container().start()
            else:
                self._container.start()
                self._is_made = True
        except (DockerException, OSError) as error:
            raise HarnessError(f"the engine did not start an etcd at {self.endpoint}: {error}") from error

    def kill(self) -> None:
        if self.is_up:
            self.thaw()  # an engine kills nothing that is paused
            wrapped = self._container.get_wrapped_container()
            wrapped.kill()
            wrapped.wait()

    def freeze(self) -> None:
        if self.is_up and not self._is_frozen:
            self._container.get_wrapped_container().pause()
            self._is_frozen = True

    def thaw(self) -> None:
        if self._is_frozen:
            self._container.get_wrapped_container().unpause()
            self._is_frozen = False

    def last_words(self) -> str:
        if not self._is_made:
            return "it was not made"
        logs: bytes = self._container.get_wrapped_container().logs(tail=5)
        return logs.decode(errors="replace")[-300:].strip()

    def remove(self) -> None:
        if self._is_made:
            self._container.stop()

    def _state(self) -> str:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status)


def _container(image: str) -> DockerContainer:
    from testcontainers.core.container import DockerContainer

    return DockerContainer(image)
