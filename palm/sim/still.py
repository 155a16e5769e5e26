"""What user code sees before its process lives: while its module loads, and while an object is made to be looked at.

No time passes there, and chance is a function of the seed and a name. What leaves the world is refused only for
objects: modules import libraries, and those may look around as they load.
"""

from __future__ import annotations

from random import Random
from typing import NoReturn

from palm.errors import HarnessError
from palm.sim.draws import Key

EPOCH_NS = 1_700_000_000 * 1_000_000_000
"""What the wall clocks show when a run starts: a Tuesday in November 2023."""


class Still:
    """`palm.sim.sandbox.Surroundings` at the very beginning of a run."""

    def __init__(self, seed: int, name: str, *, refuses: bool) -> None:
        self.random: Random = Key(seed, f"{name}/still").random(0)
        self.pid = 1
        self.place = "nowhere"
        self.refuses = refuses

    def wall(self) -> int:
        return EPOCH_NS

    def monotonic(self) -> int:
        return 0

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def pause(self, duration: int) -> None:
        raise HarnessError("no time passes while a module is loaded or an object is made: sleep in a function")

    def exit(self) -> NoReturn:
        raise HarnessError("the process ends before it lives: a module or a constructor calls os._exit or os.abort")
