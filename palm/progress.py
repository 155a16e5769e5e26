"""A progress bar on a terminal for `progress=True`; silent elsewhere."""

from __future__ import annotations

import sys
from typing import Iterator

from palm.jobs import Job

REFRESH_HZ = 8


def with_progress(results: Iterator[bytes], job: Job) -> Iterator[bytes]:
    """The same results; a bar on stderr while they come, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from results
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
        for count, result in enumerate(results, 1):
            yield result
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=count, rate=count / elapsed if elapsed else 0.0)
