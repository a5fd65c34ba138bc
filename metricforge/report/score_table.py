"""Scores of models, compared in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

SMALLER_IS_BETTER = frozenset({"eer"})  # by its last part, so binary/eer as well


def print_scores(console: Console, models: Mapping[str, Mapping[str, float]], title: str | None = None) -> None:
    """Print a table of scores in per cent, a column for each model, with the best of each row in bold.

    Args:
        console: to print on.
        models: from a name (``"raw pixels"``) to its scores in 0..1, larger = better except for ``eer``; a missing one
            is a dash.
        title: of the table.

    Raises:
        ValueError: without models.
    """
    if not models:
        raise ValueError("models must hold the scores of at least one name, got none")
    names = list(dict.fromkeys(score for scores in models.values() for score in scores))
    heading = None if title is None else Text(title, style="bold")
    table = Table("", title=heading, title_justify="left", header_style="dim")
    for model in models:
        table.add_column(Text(model), justify="right", overflow="fold")
    for name in names:
        found = [scores[name] for scores in models.values() if name in scores]
        best = min(found) if name.split("/")[-1] in SMALLER_IS_BETTER else max(found)
        cells = [_cell(scores.get(name), len(models) > 1 and scores.get(name) == best) for scores in models.values()]
        table.add_row(Text(name), *cells)
    console.print(table)


def _cell(value: float | None, best: bool) -> Text:
    return Text("–" if value is None else f"{100 * value:.1f}", style="bold" if best else "")
