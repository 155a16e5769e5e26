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
from typing import IO, Callable

import palm

STOP_S = 10.0
"""How long a child may take to drain before it is killed."""

_PR_SET_PDEATHSIG = 1


def palm_command(*arguments: str) -> list[str]:
    """`palm ARGUMENTS` by this interpreter; a `palm.py` in the current folder is not meant."""
    return [sys.executable, "-P", "-m", "palm", *arguments]


def palm_environment() -> dict[str, str]:
    """Our own, in which a child finds the package that we run, installed or not."""
    here = str(Path(palm.__file__).resolve().parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def start(*arguments: str, stdout: int | IO[bytes] | None = None, stderr: int | IO[bytes] | None = None) -> Child:
    """Start `palm ARGUMENTS`."""
    return subprocess.Popen(
        palm_command(*arguments),
        env=palm_environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=dying_with_us(),
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


def dying_with_us() -> Callable[[], None]:
    """For a child to call between fork and exec: the kernel sends it SIGTERM when we are gone (Linux)."""
    # Looked up here: between fork and exec of a process with threads, the less is done the better.
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
