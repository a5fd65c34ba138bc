"""The table of a readout's candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from metricforge.engine.readout.candidate import Candidate


def readout_table(candidates: Sequence[Candidate], best: Candidate) -> Table:
    """Return a row for each of ``candidates``, with one score of each kind; the ``best`` is bold."""
    names = [name for name in candidates[0].scores if name in _first_of_kind(candidates[0].scores)]
    table = Table(title="readout, on the validation classes", title_justify="left", box=None, pad_edge=False)
    for column in ("weights and layer", "dimensions", *names):
        table.add_column(column, justify="left" if column == "weights and layer" else "right")
    for each in candidates:
        row = [each.name, f"{each.dim:,}", *(f"{each.scores[name]:.4f}" for name in names)]
        table.add_row(*row, style="bold" if each is best else None)
    return table


def _first_of_kind(scores: Mapping[str, float]) -> Iterator[str]:
    """The names of one score of each kind: of recall@1, recall@2, ... the first."""
    kinds: dict[str, str] = {}
    for name in scores:
        kinds.setdefault(name.partition("@")[0], name)
    yield from kinds.values()
