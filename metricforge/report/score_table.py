"""Scores side by side in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_scores(console: Console, rows: Mapping[str, Mapping[str, float]], title: str | None = None) -> None:
    """Prints a table of scores in percent, a row for each name, with the best of each column in bold.

    Args:
        console: where to.
        rows: from a name (``"raw pixels"``) to its scores in 0..1, larger = better; a missing one is a dash.
        title: stands above.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError("rows must hold the scores of at least one name, got none")
    columns = list(dict.fromkeys(score for scores in rows.values() for score in scores))
    best = {column: max(scores.get(column, -math.inf) for scores in rows.values()) for column in columns}
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    table.add_column("")
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for name, scores in rows.items():
        cells = [_cell(scores.get(column), len(rows) > 1 and scores.get(column) == best[column]) for column in columns]
        table.add_row(Text(name), *cells)
    console.print(table)


def _cell(value: float | None, best: bool) -> Text:
    return Text("–" if value is None else f"{100 * value:.1f}", style="bold" if best else "")
