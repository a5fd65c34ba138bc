"""Prints the comparison of runs in the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.comparison.compare_runs import ComparedScore, Comparison, Standing, describe_differences

DASH = "–"


def print_run_comparison(console: Console, comparison: Comparison) -> None:
    """Print each score of each run in per cent, with its interval, and the difference to the first run.

    A difference is bold if zero is outside its interval; a score that was measured differently has a ``!``, and the
    differences are listed below.
    """
    table = Table(box=SIMPLE_HEAD, header_style="dim")
    table.add_column(overflow="fold")  # names that are cut off look alike
    headings = ["per cent", "interval"]
    if len(comparison.runs) > 1:
        headings += ["difference", "interval", "p"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for score in comparison.scores:
        _add_score(table, comparison, score)
    console.print(table)
    for line in _notes(comparison):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _add_score(table: Table, comparison: Comparison, score: ComparedScore) -> None:
    """A row with the score's name, and one below it for each run; for a single run one row is enough."""
    several = len(comparison.runs) > 1
    name = Text(f"{score.name} !" if score.differing else score.name, style="bold red" if score.differing else "bold")
    if several:
        table.add_row(name)
    for run, standing in zip(comparison.runs, score.standings, strict=True):
        cells = [Text(f"  {run}") if several else Text(score.name)]
        cells += [Text(f"{100 * standing.score:.1f}"), Text(_interval(standing.interval))]
        if several:
            cells += _difference(standing)
        table.add_row(*cells)


def _difference(standing: Standing) -> list[Text]:
    difference = standing.difference
    if difference is None:
        return [Text("")] * 3
    outside = difference.interval is not None and not difference.interval[0] <= 0 <= difference.interval[1]
    style = "bold" if outside else ""
    return [
        Text(f"{100 * difference.value:+.1f}", style=style),
        Text(_interval(difference.interval, "+"), style=style),
        Text(DASH if difference.p is None else "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}"),
    ]


def _interval(interval: tuple[float, float] | None, sign: str = "") -> str:
    return DASH if interval is None else f"{100 * interval[0]:{sign}.1f} … {100 * interval[1]:{sign}.1f}"


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    standings = [standing for score in comparison.scores for standing in score.standings]
    if any(standing.interval for standing in standings):
        lines.append(
            f"{100 * comparison.level:g} % intervals: {comparison.resamples:,} resamples of the "
            f"{comparison.classes:,} classes of {comparison.queries:,} queries, seed {comparison.seed}"
        )
    if any(standing.difference and standing.difference.interval for standing in standings):
        lines.append(f"differences: to {comparison.runs[0]}, on the same queries and resamples")
    differing = [(score.name, score.differing) for score in comparison.scores if score.differing]
    for heading, entries in (
        ("! measured differently, so not to be compared", differing),
        ("not shown, for they were measured differently (--force shows them)", comparison.withheld),
    ):
        for settings, scores in groupby(entries, key=lambda entry: entry[1]):
            lines.append(f"{heading}: {', '.join(name for name, _ in scores)}")
            lines += [f"    {line}" for line in describe_differences(comparison.runs, settings)]
    if comparison.remarks:
        lines.append("also different, which changes the meaning of no score:")
        lines += [f"    {line}" for line in describe_differences(comparison.runs, comparison.remarks)]
    return [*lines, *comparison.notes]
