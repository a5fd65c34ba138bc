"""Follows a run on the terminal until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from metricforge.watching.run_state import RunState, check_run, progress_facts, read_state
from metricforge.watching.terminal_picture import draw_state, score_table

EVERY_SECONDS = 2.0
SIGNS = "⣿─│"  # of curves
PATIENCE_SECONDS = 3.0  # for a training that ends, until it has written all


def follow_run(
    folder: Path,
    console: Console,
    *,
    keep: bool = False,
    every: float = EVERY_SECONDS,
    wait: Callable[[float], object] = time.sleep,
) -> RunState:
    """Show the run in ``folder`` until it ends, and return how it did.

    On a terminal the picture is drawn anew; lines, one for each validation and diagnosis, go into a file or a pipe, and
    to a terminal that cannot move its cursor (``TERM=dumb``) or has no signs for curves.

    Args:
        folder: of the run, which may not have logged anything yet.
        console: where it is shown.
        keep: go on after its end, for one that is resumed.
        every: seconds between two looks.
        wait: called with them.

    Raises:
        MetricForgeError: if ``folder`` is not the folder of a run, or is deleted while it is watched.
    """
    check_run(folder)
    show = _draw if _draws(console) else _print
    return show(folder, console, keep, every, wait)


def _draws(console: Console) -> bool:
    try:
        SIGNS.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return console.is_terminal and not console.is_dumb_terminal


def states(folder: Path, keep: bool, every: float, wait: Callable[[float], object]) -> Iterator[RunState]:
    """The run at one moment after another, until it has ended."""
    while True:
        state = read_state(folder)
        if state.status == "died":  # or it is between its last line and the end, or between two starts
            wait(PATIENCE_SECONDS)
            state = read_state(folder)
        yield state
        if state.has_ended and not keep:
            return
        wait(every)


def _draw(folder: Path, console: Console, keep: bool, every: float, wait: Callable[[float], object]) -> RunState:
    state = read_state(folder)
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        for state in states(folder, keep, every, wait):
            live.update(draw_state(state, console.width, console.height), refresh=True)
    return state


def _print(folder: Path, console: Console, keep: bool, every: float, wait: Callable[[float], object]) -> RunState:
    seen, words = 0, ""
    state = read_state(folder)
    for state in states(folder, keep, every, wait):
        if len(state.history) < seen:  # a resumed run has dropped what it trains again
            seen = 0
        for line in state.history[seen:]:
            for text in _lines(line):
                console.print(Text(text), soft_wrap=True)
        seen = len(state.history)
        if state.words != words:
            words = state.words
            facts = "  ".join(f"{name} {value}" for name, value in progress_facts(state))
            console.print(Text(f"{words}  {facts}".rstrip()), soft_wrap=True)
    if state.scores:
        console.print(score_table(state))
    return state


def _lines(line: object) -> Iterator[str]:
    assert isinstance(line, dict)
    if "diagnosis" in line:
        yield f"doctor, epoch {line['epoch']:.2f}: {line['diagnosis']['text']}"
    if "scores" in line:
        scores = "  ".join(f"{name} {value:.4f}" for name, value in line["scores"].items())
        yield f"epoch {line['epoch']:.2f}  {line.get('of', 'scores')}  {scores}"
