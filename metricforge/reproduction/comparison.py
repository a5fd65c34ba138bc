"""Prints the paper's figures beside ours in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.reproduction.paper_table import PaperTable, Row


def print_comparison(
    console: Console, table: PaperTable, ours: Sequence[Mapping[str, float]], notes: Sequence[Sequence[str]]
) -> None:
    """Print each row's figures in per cent: the paper's, ours, and the difference; if reduced, only ours.

    Args:
        console: where to print.
        table: its rows.
        ours: the scores (in 0..1) of each row; empty for one that has not been run.
        notes: what is to be said of each row; the row is marked with their numbers.
    """
    console.print(Text(f"\n{table.title}", style="bold"))
    if table.source:
        console.print(f"paper: {table.source}", highlight=False, markup=False, soft_wrap=True)
    names = marked_names(table, notes)
    for scores in dict.fromkeys(row.scores for row in table.rows):
        chosen = [
            (row, name, found) for row, name, found in zip(table.rows, names, ours, strict=True) if row.scores == scores
        ]
        grid = Table("", *([""] if table.source else []), show_lines=bool(table.source), header_style="dim")
        for score in scores:
            grid.add_column(Text(score), justify="right")
        for row, name, found in chosen:
            columns = [_figures(row, number, found) for number in range(len(scores))]
            if table.source:
                grid.add_row(Text(name), "paper\nours\ndifference", *("\n".join(column) for column in columns))
            else:
                grid.add_row(Text(name), *(column[1] for column in columns))
        console.print(grid)
    print_notes(console, table, notes)


def marked_names(table: PaperTable, notes: Sequence[Sequence[str]]) -> list[str]:
    """Each row's name with the numbers of its ``notes``: ``m = 64 [1] [2]``."""
    numbers = _numbers(notes)
    return [
        " ".join([row.name, *(f"[{numbers[note]}]" for note in own)])
        for row, own in zip(table.rows, notes, strict=True)
    ]


def print_notes(console: Console, table: PaperTable, notes: Sequence[Sequence[str]]) -> None:
    """Print each of the rows' ``notes`` once with its number, then what is to be said of the whole table."""
    for note, number in _numbers(notes).items():
        console.print(f"[{number}] {note}", highlight=False, markup=False, soft_wrap=True)
    if table.note:
        console.print(f"note: {table.note}", highlight=False, markup=False, soft_wrap=True)


def _numbers(notes: Sequence[Sequence[str]]) -> dict[str, int]:
    """The number of each different note, from 1 on, in the order of the rows."""
    different = dict.fromkeys(note for own in notes for note in own)
    return {note: number for number, note in enumerate(different, start=1)}


def _figures(row: Row, number: int, found: Mapping[str, float]) -> tuple[str, str, str]:
    paper, score = row.paper[number], found.get(row.prefix + row.scores[number])
    return (
        "–" if paper is None else f"{paper:.1f}",
        "–" if score is None else f"{100 * score:.1f}",
        "" if paper is None or score is None else f"{100 * score - paper:+.1f}",
    )
