"""Child processes that do not outlive us: the `palm` command of this very installation, in sessions of their own.

Ctrl-C reaches the parent alone, which ends its children in its own order; when it is killed, the kernel ends them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import palm

STOP_S = 10.0
"""How long a child may take to drain before it is killed."""

PARENT = "PALM_PARENT"
"""Names the parent's pid to a child."""

_PR_SET_PDEATHSIG = 1


def command(*arguments: str) -> list[str]:
    """`palm ARGUMENTS` by this interpreter; a `palm.py` in the current folder is not meant."""
    return [sys.executable, "-P", "-m", "palm", *arguments]


def environment() -> dict[str, str]:
    """Our own, in which a child finds its parent, and the package that we run, installed or not."""
    here = str(Path(palm.__file__).resolve().parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), PARENT: str(os.getpid())}


def start(*arguments: str, stdout: int | IO[bytes] | None = None, stderr: int | IO[bytes] | None = None) -> Child:
    """Start `palm ARGUMENTS`."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


Child = subprocess.Popen[bytes]


def stop(children: list[Child]) -> None:
    """Ask all to end, wait for each, and kill those that take too long."""
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def obey_parent() -> None:
    """At the start of a process: if it is such a child, have the kernel send it SIGTERM when its parent is gone.

    Here and not between fork and exec: a fork that runs code of ours would also run gRPC's, which does not survive it.
    """
    parent = os.environ.pop(PARENT, "")  # not meant for children of its own
    if not parent:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != parent:
        os._exit(1)  # it was gone already
