"""Prints the paper's figures beside ours in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.reproduction.paper_table import PaperTable, Row


def print_comparison(console: Console, table: PaperTable, ours: Sequence[Mapping[str, float]]) -> None:
    """Print each row's figures in per cent: the paper's, ours, and the difference; if reduced, only ours.

    Args:
        console: where to print.
        table: its rows.
        ours: the scores (in 0..1) of each row; empty for one that has not been run.
    """
    console.print(Text(f"\n{table.title}", style="bold"))
    if table.source:
        console.print(f"paper: {table.source}", highlight=False, markup=False, soft_wrap=True)
    for scores in dict.fromkeys(row.scores for row in table.rows):
        chosen = [(row, found) for row, found in zip(table.rows, ours, strict=True) if row.scores == scores]
        grid = Table("", *([""] if table.source else []), show_lines=bool(table.source), header_style="dim")
        for score in scores:
            grid.add_column(Text(score), justify="right")
        for row, found in chosen:
            columns = [_figures(row, number, found) for number in range(len(scores))]
            if table.source:
                grid.add_row(Text(row.name), "paper\nours\ndifference", *("\n".join(column) for column in columns))
            else:
                grid.add_row(Text(row.name), *(column[1] for column in columns))
        console.print(grid)
    for row in table.rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", highlight=False, markup=False, soft_wrap=True)
    if table.note:
        console.print(f"note: {table.note}", highlight=False, markup=False, soft_wrap=True)


def _figures(row: Row, number: int, found: Mapping[str, float]) -> tuple[str, str, str]:
    paper, score = row.paper[number], found.get(row.prefix + row.scores[number])
    return (
        "–" if paper is None else f"{paper:.1f}",
        "–" if score is None else f"{100 * score:.1f}",
        "" if paper is None or score is None else f"{100 * score - paper:+.1f}",
    )
