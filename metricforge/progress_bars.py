"""Progress bars in the terminal, all of one look; in a log file they would be noise, so none is shown there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def progress_bar(console: Console, task: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar of ``done`` of ``total`` pieces while it is open; yields the function that advances it by a count."""
    with _bars(console, MofNCompleteColumn()) as bar:
        number = bar.add_task(task, total=total, completed=done)
        yield lambda count: bar.advance(number, count)


@contextmanager
def progress_bars(console: Console, total: int, *tasks: str) -> Iterator[tuple[Callable[[int], None], ...]]:
    """Show a bar for each of ``tasks``, as ``progress_bar`` does, from the first time that it is advanced."""
    with _bars(console, MofNCompleteColumn()) as bars:
        numbers = [bars.add_task(task, total=total, start=False, visible=False) for task in tasks]

        def advance(number: TaskID, count: int) -> None:
            bars.start_task(number)
            bars.update(number, advance=count, visible=True)

        yield tuple(partial(advance, number) for number in numbers)


@contextmanager
def download_bar(console: Console, task: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar in bytes; yields the function that takes how many are there and, if known, how many there will be."""
    with _bars(console, DownloadColumn(), TransferSpeedColumn()) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(number, completed=done, total=total)


@contextmanager
def read_with_bar(console: Console, task: str, file: Path) -> Iterator[BinaryIO]:
    """Open ``file`` and show in bytes how much of it was read."""
    with (
        _bars(console, DownloadColumn(), TransferSpeedColumn()) as bar,
        bar.open(file, "rb", description=task) as content,
    ):
        yield content


def _bars(console: Console, *amounts: ProgressColumn) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
