"""Progress bars in the terminal, all of one look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(console: Console, task: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows a bar while it is open, if ``console`` is a terminal; yields the function that advances it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    visible = console.is_terminal  # in a log file a bar is noise
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        number = bar.add_task(task, total=total, completed=done)
        yield lambda count: bar.advance(number, count)
