"""What users subclass, and `run_server`.

A server class is a plain object with methods from bytes to bytes; which of them may be called is said when it is run.
Nothing here knows sockets or the registry: `palm run` and the simulator take it from here.
"""

from __future__ import annotations

import logging
from typing import Sequence


class RegisteredServer:
    """A server whose functions every client of the cluster can call by `"name.function"`.

    Methods take one `bytes` and return one `bytes`, as `def` or `async def`. Plain functions of one instance run one at
    a time, so they may use `self` without locks; coroutines run beside each other. An exception is the message's end:
    the caller gets it as `HandlerFailed`, and the rest of the job goes on.
    """

    kind = "RegisteredServer"

    @property
    def log(self) -> logging.Logger:
        """A logger named after the class."""
        return logging.getLogger(type(self).__name__)


class ButterflyServer(RegisteredServer):
    """The same, for work that one process is too slow for: run it in as many processes as there are cores, or machines.

    The instances of one name elect a leader. It takes the messages and hands them out to the others, each as many as
    it can use, and works itself while it is alone. Where the leader is lost, another one takes over; what a lost
    worker had goes to others. So functions must not rely on which process runs them, nor on running only once.
    """

    kind = "ButterflyServer"

    def on_term(self, term: int) -> None:
        """Called when this instance has become the leader; terms only grow. Override it."""


def run_server(server: type[object], name: str, functions: Sequence[str] | None = None) -> None:
    """Serve `server` under `name` until told to stop; the last line of a server script.

    `functions` names the methods that may be called; None offers all public methods that the class defines itself.
    Reads its options from the command line (`python server.py run --help`) and ends the process: 0 after a clean drain.
    """
    from palm.cli.script import run_script

    run_script(server, name, functions)
