"""What user code cannot have in the simulator, and what to do instead: a table for `palm.sim.sandbox`.

Refused is what would leave the simulated world (sockets, processes, real signals), what would stop it for good (a wait
that nothing simulated can end), and what would replace it (`exec`). Files are left alone: they are as deterministic as
what stands in them.
"""

from __future__ import annotations

_SERVICE = "how long it takes is said by `service` in the scenario"

THREAD = (
    f"a thread cannot be started in the simulator: make the function `async def`, or call it directly; {_SERVICE}"
)
SOCKET = (
    "a socket cannot be opened in the simulator: reach other servers with `self.call`, and put the outside world "
    "behind a server of its own that the scenario replaces"
)
PROCESS = f"a process cannot be started in the simulator: call the work directly; {_SERVICE}"
LOOP = (
    "an event loop of its own cannot run in the simulator: make the function `async def`, and await; the simulated "
    "world runs the loop"
)
SIGNAL = (
    "signals do not exist in the simulator: what ends a process is said by `crash` in the scenario, what is to happen "
    "later by `asyncio.sleep` or `time.sleep`"
)
WAIT = (
    "a wait without a limit for another thread would stop the simulated world for good, as there is no other thread: "
    "make the function `async def` and use asyncio's Event, Condition or Queue, or give the wait a timeout"
)
INPUT = "nobody types in the simulator: take what you need from the message"
OTHER_PROCESS = "no process but its own can be signalled in the simulator: stop others with `crash` in the scenario"

REFUSED: tuple[tuple[str, str, str], ...] = (
    ("threading", "Thread.start", THREAD),
    ("_thread", "start_new_thread", THREAD),
    ("_thread", "start_new", THREAD),
    ("socket", "socket.__init__", SOCKET),
    ("socket", "socketpair", SOCKET),
    ("socket", "getaddrinfo", SOCKET),
    ("socket", "gethostbyname", SOCKET),
    ("socket", "gethostbyname_ex", SOCKET),
    ("socket", "gethostbyaddr", SOCKET),
    ("socket", "getnameinfo", SOCKET),
    ("select", "select", SOCKET),
    ("select", "poll", SOCKET),
    ("subprocess", "Popen.__init__", PROCESS),
    ("_posixsubprocess", "fork_exec", PROCESS),  # how multiprocessing spawns
    ("os", "fork", PROCESS),
    ("os", "forkpty", PROCESS),
    ("os", "system", PROCESS),
    ("os", "posix_spawn", PROCESS),
    ("os", "posix_spawnp", PROCESS),
    ("os", "execv", PROCESS),
    ("os", "execve", PROCESS),
    ("os", "killpg", OTHER_PROCESS),
    ("signal", "signal", SIGNAL),
    ("signal", "alarm", SIGNAL),
    ("signal", "setitimer", SIGNAL),
    ("signal", "pause", SIGNAL),
    ("signal", "sigwait", SIGNAL),
    ("signal", "raise_signal", SIGNAL),
    ("asyncio", "run", LOOP),
    ("asyncio", "new_event_loop", LOOP),
    ("asyncio.events", "new_event_loop", LOOP),
    ("builtins", "input", INPUT),
)
"""Module, name in it, and what the error says."""

REFUSED_IF_LOADED: tuple[tuple[str, str, str], ...] = (
    ("zmq", "Context.socket", SOCKET),
    ("grpc", "insecure_channel", SOCKET),
    ("grpc", "secure_channel", SOCKET),
)
"""The same for packages that the simulator itself does not load."""
