"""What user code finds when it asks for the time, for chance, or for the outside: the simulated world, or a refusal.

The standard functions are replaced once, by wrappers that look at one variable: while user code of a simulated process
runs, that is the process's `Surroundings`, otherwise None and the wrapper calls the original. So entering and leaving
costs an assignment each, and nothing outside of user code changes. A name that a module took with `from time import
sleep` before the replacement is found by `adopt`. Local time is UTC (for the whole process, while the replacements are
in place), so that a run is the same on every machine. What the simulator cannot honour is refused, as the table
in `palm.sim.refusals` says.
"""

from __future__ import annotations

import copyreg
import datetime as datetime_module
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date as _RealDate
from datetime import datetime as _RealDatetime
from functools import partial
from importlib import import_module
from random import Random
from types import ModuleType
from typing import Any, NoReturn, Protocol

from palm.errors import HarnessError
from palm.sim.refusals import OTHER_PROCESS, REFUSED, REFUSED_IF_LOADED, WAIT

_NS = 1_000_000_000


class Surroundings(Protocol):
    """The world as one piece of running user code sees it."""

    @property
    def random(self) -> Random: ...

    @property
    def pid(self) -> int: ...

    @property
    def place(self) -> str:
        """The name of the machine."""
        ...

    @property
    def refuses(self) -> bool:
        """What leaves the world is refused; while a module is loaded it is not, as libraries look around then."""
        ...

    def wall(self) -> int:
        """Nanoseconds since 1970."""
        ...

    def monotonic(self) -> int: ...

    def entropy(self, count: int) -> bytes:
        """What the operating system would give as random bytes."""
        ...

    def pause(self, duration: int) -> None:
        """Let `duration` ns of simulated time pass before going on."""
        ...

    def exit(self) -> NoReturn:
        """The process ends here and now."""
        ...


_current: Surroundings | None = None
_owner = 0
_users = 0
_undo: list[Callable[[], object]] = []
_replaced: dict[int, tuple[object, object]] = {}
_also_refused: dict[tuple[str, str], None] = {}


def enter(surroundings: Surroundings | None) -> Surroundings | None:
    """From now on, user code sees `surroundings`; what it saw before, to be given to `enter` again afterwards.

    Puts the replacements in place if nobody has; then they stay until the next `installed` ends.
    """
    global _current, _owner
    if not _undo:
        _install()
    previous = _current
    _current = surroundings
    _owner = threading.get_ident()
    return previous


@contextmanager
def installed(modules: Iterable[ModuleType] = ()) -> Iterator[None]:
    """Keep the replacements in place, also in `modules`; when the last of several ends, everything is as it was."""
    global _users
    _users += 1
    try:
        if not _undo:
            _install()
        for module in modules:
            adopt(module)
        yield
    finally:
        _users -= 1
        if _users == 0:
            _uninstall()


def adopt(module: ModuleType) -> None:
    """Replace what `module` took from the standard library by name (`from time import sleep`), if anything is
    replaced at present."""
    if _undo:
        _refuse_loaded()
    for name, value in list(vars(module).items()):
        original, replacement = _replaced.get(id(value), (None, None))
        if original is value and replacement is not None:
            _set(module, name, replacement)


def _here() -> Surroundings | None:
    # Another thread of this process (a progress display) lives in the real world, whatever runs here.
    if _current is not None and threading.get_ident() == _owner:
        return _current
    return None


# -- time --------------------------------------------------------------------------------------------------------------


def _seconds(real: Callable[[], float], read: Callable[[Surroundings], int]) -> Callable[[], float]:
    def seconds() -> float:
        here = _here()
        return real() if here is None else read(here) / _NS

    return seconds


def _nanoseconds(real: Callable[[], int], read: Callable[[Surroundings], int]) -> Callable[[], int]:
    def nanoseconds() -> int:
        here = _here()
        return real() if here is None else read(here)

    return nanoseconds


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def sleep(secs: float) -> None:
        here = _here()
        if here is None:
            real(secs)
        elif secs < 0:
            raise ValueError("sleep length must be non-negative")
        else:
            here.pause(round(secs * _NS))

    return sleep


def _at_present(real: Callable[..., Any]) -> Callable[..., Any]:
    """`localtime()`, `gmtime()` and `ctime()`: a moment may be given, and is now by default."""
    utc = time.asctime if real is time.ctime else None
    to_utc = time.gmtime

    def at_present(secs: float | None = None) -> Any:
        here = _here()
        if here is None:
            return real(secs)
        moment = to_utc(here.wall() / _NS if secs is None else secs)
        return moment if utc is None else utc(moment)

    return at_present


def _of_clock(real: Callable[[int], Any], scale: Callable[[int], Any]) -> Callable[[int], Any]:
    def of_clock(clk_id: int) -> Any:
        here = _here()
        if here is None:
            return real(clk_id)
        return scale(here.wall() if clk_id in _WALL_CLOCKS else here.monotonic())

    return of_clock


_WALL_CLOCKS = {getattr(time, name) for name in ("CLOCK_REALTIME", "CLOCK_TAI") if hasattr(time, name)}


def _times(real: Callable[[], os.times_result]) -> Callable[[], os.times_result]:
    def times() -> os.times_result:
        here = _here()
        if here is None:
            return real()
        passed = here.monotonic() / _NS
        return os.times_result((passed, 0.0, 0.0, 0.0, passed))

    return times


def _strftime(real: Callable[..., str]) -> Callable[..., str]:
    to_utc = time.gmtime

    def strftime(format: str, *moment: Any) -> str:
        here = _here()
        return real(format, *moment) if here is None or moment else real(format, to_utc(here.wall() / _NS))

    return strftime


class _Same(type):
    """Makes the stand-in of a class that is written in C equal to it for `isinstance` and `issubclass`."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _STANDS_FOR[cls]) if cls in _STANDS_FOR else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _STANDS_FOR[cls]) if cls in _STANDS_FOR else super().__subclasscheck__(subclass)


class _Datetime(_RealDatetime, metaclass=_Same):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _RealDatetime.__new__(_RealDatetime if cls is _Datetime else cls, *args, **kwargs)

    @classmethod
    def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
        here = _here()
        if here is None:
            return super().now(tz)
        moment = cls.fromtimestamp(here.wall() / _NS, tz or datetime_module.UTC)
        return moment if tz is not None else moment.replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> Any:
        return super().utcnow() if _here() is None else cls.now()

    @classmethod
    def today(cls) -> Any:
        return super().today() if _here() is None else cls.now()


class _Date(_RealDate, metaclass=_Same):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _RealDate.__new__(_RealDate if cls is _Date else cls, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        here = _here()
        if here is None:
            return super().today()
        return cls.fromordinal(_RealDatetime.fromtimestamp(here.wall() / _NS, datetime_module.UTC).toordinal())


_STANDS_FOR: dict[type, type] = {_Datetime: _RealDatetime, _Date: _RealDate}

for _stand_in, _real in _STANDS_FOR.items():
    _stand_in.__module__, _stand_in.__qualname__ = _real.__module__, _real.__qualname__


def _reduce(moment: datetime_module.date) -> tuple[Any, ...]:
    # pickle asks whether `datetime.datetime` still is the class of what it writes: so it writes the stand-in, whose
    # name is the same, and reads the real one anywhere.
    stand_in = _Datetime if type(moment) is _RealDatetime else _Date
    return (stand_in, moment.__reduce_ex__(4)[1])


# -- chance ------------------------------------------------------------------------------------------------------------

_RANDOM = (
    "betavariate", "binomialvariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits",
    "getstate", "lognormvariate", "normalvariate", "paretovariate", "randbytes", "randint", "random", "randrange",
    "sample", "seed", "setstate", "shuffle", "triangular", "uniform", "vonmisesvariate", "weibullvariate",
)  # fmt: skip


def _random_function(real: Callable[..., Any], name: str) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        here = _here()
        return real(*args, **kwargs) if here is None else getattr(here.random, name)(*args, **kwargs)

    return draw


def _urandom(real: Callable[..., bytes]) -> Callable[..., bytes]:
    def urandom(size: int, *flags: Any) -> bytes:
        here = _here()
        return real(size, *flags) if here is None else here.entropy(size)

    return urandom


def _seed(real: Callable[..., None]) -> Callable[..., None]:
    def seed(self: Random, a: Any = None, version: int = 2) -> None:
        here = _here()
        # `Random()` without a seed asks the operating system, behind Python's back.
        real(self, here.entropy(32) if here is not None and a is None else a, version)

    return seed


def _uuid1(real: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        here = _here()
        if here is None:
            return real(node, clock_seq)
        ticks = here.wall() // 100 + 0x01B21DD213814000  # 100 ns since the Gregorian reform, as RFC 9562 counts
        words = int.from_bytes(here.entropy(8), "big")
        node = words & 0xFFFFFFFFFFFF if node is None else node
        clock_seq = words >> 48 & 0x3FFF if clock_seq is None else clock_seq
        fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0xFFF, clock_seq >> 8, clock_seq & 0xFF, node)
        return uuid.UUID(fields=fields, version=1)

    return uuid1


def _uuid4(real: Callable[[], uuid.UUID]) -> Callable[[], uuid.UUID]:
    def uuid4() -> uuid.UUID:
        here = _here()
        return real() if here is None else uuid.UUID(bytes=here.entropy(16), version=4)

    return uuid4


# -- the outside -------------------------------------------------------------------------------------------------------

def _refuse(real: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        here = _here()
        if here is not None and here.refuses:
            raise HarnessError(reason)
        return real(*args, **kwargs)

    return refused


def _own(real: Callable[[], Any], read: Callable[[Surroundings], Any]) -> Callable[[], Any]:
    """A fact about the process or its machine."""

    def fact() -> Any:
        here = _here()
        return real() if here is None else read(here)

    return fact


def _kill(real: Callable[[int, int], None]) -> Callable[[int, int], None]:
    def kill(pid: int, number: int) -> None:
        here = _here()
        if here is None:
            real(pid, number)
        elif pid != here.pid:
            raise HarnessError(OTHER_PROCESS)
        elif number:
            here.exit()

    return kill


def _wait(real: Callable[..., bool]) -> Callable[..., bool]:
    """`Condition.wait`, on which events, semaphores, barriers, queues and futures of threads wait.

    Simulated time passes up to the limit, even where somebody notifies earlier: what counts is that they did.
    """

    def wait(self: Any, timeout: float | None = None) -> bool:
        here = _here()
        if here is None or not here.refuses:
            return real(self, timeout)
        if timeout is None:
            raise HarnessError(WAIT)
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        held = self._release_save()
        try:
            here.pause(max(0, round(timeout * _NS)))
        finally:
            self._acquire_restore(held)
        if waiter.acquire(blocking=False):
            return True
        self._waiters.remove(waiter)
        return False

    return wait


def _in_order(real: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def listdir(*args: Any, **kwargs: Any) -> list[Any]:
        found = real(*args, **kwargs)
        return found if _here() is None else sorted(found)

    return listdir


def _exit(real: Callable[..., Any]) -> Callable[..., Any]:
    def leave(*args: Any) -> Any:
        here = _here()
        return real(*args) if here is None else here.exit()

    return leave


# -- putting it in place -----------------------------------------------------------------------------------------------


def _install() -> None:
    wall, monotonic = (lambda here: here.wall()), (lambda here: here.monotonic())
    _replace(time, "time", _seconds(time.time, wall))
    _replace(time, "time_ns", _nanoseconds(time.time_ns, wall))
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        _replace(time, name, _seconds(getattr(time, name), monotonic))
        _replace(time, f"{name}_ns", _nanoseconds(getattr(time, f"{name}_ns"), monotonic))
    _replace(time, "sleep", _sleep(time.sleep))
    for name in ("localtime", "gmtime", "ctime"):
        replacement = _at_present(getattr(time, name))
        _replace(time, name, replacement)
    _replace(time, "strftime", _strftime(time.strftime))
    if hasattr(time, "clock_gettime"):
        _replace(time, "clock_gettime", _of_clock(time.clock_gettime, lambda ns: ns / _NS))
        _replace(time, "clock_gettime_ns", _of_clock(time.clock_gettime_ns, lambda ns: ns))
    _replace(os, "times", _times(os.times))
    _local_time_is_utc()
    _replace(datetime_module, "datetime", _Datetime)
    _replace(datetime_module, "date", _Date)
    for real in _STANDS_FOR.values():
        copyreg.dispatch_table[real] = _reduce
        _undo.append(partial(copyreg.dispatch_table.pop, real, None))
    for name in _RANDOM:
        if hasattr(random, name):
            _replace(random, name, _random_function(getattr(random, name), name))
    _replace(random.Random, "seed", _seed(random.Random.seed))
    _replace(os, "urandom", _urandom(os.urandom))
    _replace(random, "_urandom", os.urandom)  # where SystemRandom, and so `secrets`, gets its bytes
    if hasattr(os, "getrandom"):
        _replace(os, "getrandom", _urandom(os.getrandom))
    _replace(uuid, "uuid1", _uuid1(uuid.uuid1))
    _replace(uuid, "uuid4", _uuid4(uuid.uuid4))
    _replace(os, "_exit", _exit(os._exit))
    _replace(os, "abort", _exit(os.abort))
    _replace(os, "kill", _kill(os.kill))
    _replace(os, "listdir", _in_order(os.listdir))
    _replace(os, "getpid", _own(os.getpid, lambda here: here.pid))
    _replace(os, "getppid", _own(os.getppid, lambda here: 1))
    _replace(threading, "get_native_id", _own(threading.get_native_id, lambda here: here.pid))
    _replace(uuid, "getnode", _own(uuid.getnode, lambda here: here.pid))
    sockets: Any = import_module("socket")  # by name: this floor opens none, and a test sees to that
    _replace(sockets, "gethostname", _own(sockets.gethostname, lambda here: here.place))
    _replace(threading.Condition, "wait", _wait(threading.Condition.wait))
    for module_name, path, reason in REFUSED:
        _refuse_in(import_module(module_name), path, reason)
    _refuse_loaded()


def _refuse_loaded() -> None:
    for module_name, path, reason in REFUSED_IF_LOADED:
        if module_name in sys.modules and (module_name, path) not in _also_refused:
            _also_refused[module_name, path] = None
            _undo.append(partial(_also_refused.pop, (module_name, path), None))
            _refuse_in(sys.modules[module_name], path, reason)


def _refuse_in(holder: Any, path: str, reason: str) -> None:
    *owners, name = path.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    if hasattr(holder, name):
        _replace(holder, name, _refuse(getattr(holder, name), reason))


def _local_time_is_utc() -> None:
    before = os.environ.get("TZ")

    def restore() -> None:
        if before is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = before
        time.tzset()

    # Naive datetimes ask the C library, where no wrapper reaches.
    os.environ["TZ"] = "UTC"
    time.tzset()
    _undo.append(restore)


def _replace(holder: Any, name: str, replacement: object) -> None:
    original = getattr(holder, name)
    if isinstance(holder, ModuleType):
        _replaced[id(original)] = (original, replacement)
    _set(holder, name, replacement)


def _set(holder: Any, name: str, replacement: object) -> None:
    own = name in vars(holder)
    original = getattr(holder, name)
    setattr(holder, name, replacement)
    _undo.append((lambda: setattr(holder, name, original)) if own else (lambda: delattr(holder, name)))


def _uninstall() -> None:
    while _undo:
        _undo.pop()()
    _replaced.clear()


__all__ = ["Surroundings", "adopt", "enter", "installed"]
