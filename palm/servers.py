"""What users subclass, and `run_server`.

A server class is a plain object with methods from bytes to bytes; which of them may be called is said when it is run.
Nothing here knows sockets or the registry: `palm run` and the simulator take it from here.
"""

from __future__ import annotations

import logging
from typing import Sequence

from palm.runtime.envelope import Envelope, current


class RegisteredServer:
    """A server whose functions every client of the cluster can call by `"name.function"`.

    Methods take one `bytes` and return one `bytes`, as `def` or `async def`. Plain functions of one instance run one at
    a time, so they may use `self` without locks; coroutines run beside each other. An exception is the message's end:
    the caller gets it as `HandlerFailed`, and the rest of the job goes on.
    """

    kind = "RegisteredServer"

    @property
    def message(self) -> Envelope:
        """The message that the running function works on: client, job, sequence, part, attempt, deadline, trace."""
        return current()

    @property
    def log(self) -> logging.Logger:
        """A logger named after the class."""
        return logging.getLogger(type(self).__name__)


def run_server(server: type[object], name: str, functions: Sequence[str] | None = None) -> None:
    """Serve `server` under `name` until told to stop; the last line of a server script.

    `functions` names the methods that may be called; None offers all public methods that the class defines itself.
    Reads its options from the command line (`python server.py run --help`) and ends the process: 0 after a clean drain.
    """
    from palm.cli.script import run_script

    run_script(server, name, functions)
