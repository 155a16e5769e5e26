"""A progress bar on a terminal for `progress=True`; silent elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import AsyncIterator, Callable, Iterator

from palm.jobs import Job

REFRESH_HZ = 8


def with_progress(results: Iterator[bytes], job: Job) -> Iterator[bytes]:
    """The same results; a bar on stderr while they come, where stderr is a terminal."""
    with _bar(job) as step:
        for result in results:
            yield result
            step()


async def with_progress_async(results: AsyncIterator[bytes], job: Job) -> AsyncIterator[bytes]:
    """`with_progress` for coroutines."""
    with _bar(job) as step:
        async for result in results:
            yield result
            step()


@contextmanager
def _bar(job: Job) -> Iterator[Callable[[], None]]:
    """A bar for the job's results, moved on by one at each call."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>9,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=REFRESH_HZ) as bar:
        try:
            total = len(job.source)  # type: ignore[arg-type]  # a generator has no length: then the bar only counts
        except TypeError:
            total = None
        task = bar.add_task(" -> ".join(map(str, job.route)), total=total, rate=0.0)
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=count, rate=count / elapsed if elapsed else 0.0)

        yield step
