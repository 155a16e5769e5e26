"""What a job's messages carry: named generators or the user's own, the lines of a file, bytes of drawn sizes; a
function of the seed."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

from palm.errors import HarnessError, PalmError
from palm.sim import sandbox
from palm.sim.blame import said_by
from palm.sim.draws import Key
from palm.sim.scenario.sources import Run
from palm.sim.server_files import load_function
from palm.sim.still import Still

if TYPE_CHECKING:
    from palm.sim.scenario.load import Messages

_SYLLABLES = ("ba", "den", "fi", "gor", "ha", "ka", "lim", "mo", "nes", "pu", "ra", "sol", "ti", "vu", "wen", "zo")


def _numbers(key: Key) -> Iterator[bytes]:
    number = 0
    while True:
        yield b"%d" % number
        number += 1


def _words(key: Key) -> Iterator[bytes]:
    number = 0
    while True:
        random = key.random(number)
        words = ("".join(random.choices(_SYLLABLES, k=random.randint(1, 3))) for _ in range(random.randint(3, 12)))
        yield " ".join(words).encode()
        number += 1


GENERATORS: Mapping[str, Callable[[Key], Iterator[bytes]]] = {"numbers": _numbers, "words": _words}
"""`numbers`: 0, 1, 2 ... as text, so that each message tells its place. `words`: lines of 3 to 12 made-up words."""


def payloads(messages: Messages, seed: int, job: str) -> Iterator[bytes]:
    """All payloads of a job, in order, made as they are asked for."""
    key = Key(seed, f"payload/{job}")
    if isinstance(messages.payload, Run):
        return islice(_made(messages.payload, seed, job), messages.count)
    if messages.payload is not None:
        return islice(GENERATORS[messages.payload](key), messages.count)
    if messages.file is not None:
        return islice(cycle(messages.file.read_bytes().splitlines()), messages.count)
    sizes = messages.sizes
    assert sizes is not None, "messages have one of payload, file and sizes"
    return (key.random(n).randbytes(sizes.sample(key.unit(n))) for n in range(messages.count))


def _made(run: Run, seed: int, job: str) -> Iterator[bytes]:
    """What the user's function makes of a `random.Random`: an iterable of bytes. It runs before the world does, so no
    time passes in it. Raises HarnessError where it raises, ends too soon, or gives something else."""
    name, function = run.class_name, load_function(run.file, run.class_name)
    still = Still(seed, f"payload/{job}", refuses=True)

    def within(step: Callable[[], Any]) -> Any:
        before = sandbox.enter(still)
        try:
            return step()
        except PalmError:
            raise
        except Exception as error:  # whatever a user's function raises is shown as one error
            raise HarnessError(f"payloads of {job}: {name} raised {said_by(error, run.file)}") from error
        finally:
            sandbox.enter(before)

    made: Any = within(lambda: iter(function(Key(seed, f"payload/{job}").random(0))))  # type: ignore[call-overload]  # what it gives is looked at where it is wrong
    count = 0
    while (payload := within(lambda: next(made, None))) is not None:
        if not isinstance(payload, bytes):
            gave = f"{name} gave {type(payload).__name__} as payload {count}"
            raise HarnessError(f"payloads of {job}: {gave}, bytes are needed ({run.file})")
        yield payload
        count += 1
    raise HarnessError(f"payloads of {job}: {name} ended after {count}, and the job has more messages ({run.file})")
