"""A progress bar on a terminal for `progress=True`; silent elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, AsyncIterator, Iterator, Self

from palm.jobs import Job

if TYPE_CHECKING:
    from rich.progress import Progress

REFRESH_HZ = 8


class Watched(Iterator[bytes]):
    """The same results; a bar on stderr while they come, where stderr is a terminal.

    An iterator and no generator: one that raised can be asked for the next result.
    """

    def __init__(self, results: Iterator[bytes], job: Job) -> None:
        self._results = results
        self._bar = Bar(job)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            result = next(self._results)
        except BaseException:  # re-raised: the line belongs to whoever speaks next
            self._bar.stop()
            raise
        self._bar.step()
        return result


class WatchedAsync(AsyncIterator[bytes]):
    """`Watched` for coroutines."""

    def __init__(self, results: AsyncIterator[bytes], job: Job) -> None:
        self._results = results
        self._bar = Bar(job)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            result = await anext(self._results)
        except BaseException:  # re-raised: the line belongs to whoever speaks next
            self._bar.stop()
            raise
        self._bar.step()
        return result


class Bar:
    """Counts results. Shown from the first on, and again after each `stop`."""

    def __init__(self, job: Job) -> None:
        self._count = 0
        self._progress = _progress(job) if sys.stderr.isatty() else None

    def __del__(self) -> None:
        self.stop()

    def step(self) -> None:
        if self._progress is None:
            return
        self._count += 1
        self._progress.start()
        elapsed = self._progress.tasks[0].elapsed or 0.0
        task = self._progress.task_ids[0]
        self._progress.update(task, completed=self._count, rate=self._count / elapsed if elapsed else 0.0)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _progress(job: Job) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>9,.0f}/s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        refresh_per_second=REFRESH_HZ,
    )
    try:
        total = len(job.source)  # type: ignore[arg-type]  # a generator has no length: then the bar only counts
    except TypeError:
        total = None
    progress.add_task(" -> ".join(map(str, job.route)), total=total, rate=0.0)
    return progress
