"""A table of a paper as rows of configs and options, read from ``configs/tables.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricforge.errors import ConfigError
from metricforge.reproduction.table_faults import options_on, table_faults
from metricforge.reproduction.tables_file import read_tables_file

_REDUCED_SCORES = ("recall@1", "map@r", "nmi")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: what the paper calls it.
        config: what is trained.
        options: dotted config keys to values, in place of the config's.
        scores: the paper's columns.
        paper: what it printed, in per cent, for each of ``scores``; None where it printed nothing.
        prefix: stands before the names of our scores: ``"binary/"`` for the second way that a run is scored.
        baseline: the untrained model among the config's ``baselines`` whose scores these are; "" for the trained one.
        note: what the paper says beside figures.
    """

    name: str
    config: Path
    options: Mapping[str, Any]
    scores: tuple[str, ...]
    paper: tuple[float | None, ...]
    prefix: str = ""
    baseline: str = ""
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, or its reduced form (which has no source: there is nothing to compare with)."""

    name: str
    title: str
    source: str
    note: str
    rows: tuple[Row, ...]

    def only(self, words: Sequence[str]) -> PaperTable:
        """Return the rows whose name contains one of ``words``, ignoring case.

        Raises:
            ConfigError: if there is none.
        """
        rows = tuple(row for row in self.rows if any(word.lower() in row.name.lower() for word in words))
        if not rows:
            names = ", ".join(f'"{row.name}"' for row in self.rows)
            raise ConfigError(
                [f"--only {' '.join(words)}: no row of {self.name} has that; rows: {names}"], "the command"
            )
        return PaperTable(self.name, self.title, self.source, self.note, rows)


def read_tables(file: str | Path, reduced: str | None = None) -> dict[str, PaperTable]:
    """Read the tables in ``file``, by name; configs are looked up beside it.

    Args:
        file: YAML with the key ``tables``, as ``configs/tables.yaml`` has and explains.
        reduced: ``"glyphs"``, or a folder of images: the tables' reduced forms on these instead.

    Raises:
        ConfigError: if the file is absent or not YAML, or with every fault of its tables.
    """
    file = Path(file)
    content = read_tables_file(file)
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(
            ["tables: is missing; it maps a table's name to its title, source, scores and rows"], str(file)
        )
    faults: list[str] = []
    tables = {}
    for name, table in content.items():
        found = table_faults(str(name), table, file.parent)
        faults += found
        if not found:
            tables[name] = _paper_table(name, table, file.parent, reduced)
    if faults:
        raise ConfigError(faults, str(file))
    return tables


def _paper_table(name: str, table: Mapping[str, Any], folder: Path, reduced: str | None) -> PaperTable:
    if reduced is None:
        rows = [_row(row, row.get("config") or table["config"], table["scores"], folder) for row in table["rows"]]
        return PaperTable(name, table["title"], table["source"], table.get("note", ""), tuple(rows))
    form = table["reduced"]
    rows = []
    for row in form.get("rows") or table["rows"]:
        config = row["config"] if isinstance(row.get("config"), Mapping) else form["config"]
        on = "glyphs" if reduced == "glyphs" else "folder"
        if on not in config:
            continue  # such as a row that needs a class tree
        options = options_on(on, row.get("options") or {})
        if reduced != "glyphs":
            options["data_root"] = reduced
        plain = {"name": row["name"], "options": options}
        if form.get("rows"):  # the paper's own rows have the paper's columns, which are not these
            plain |= {key: row[key] for key in ("scores", "prefix", "baseline", "note") if key in row}
        rows.append(_row(plain, config[on], form.get("scores", _REDUCED_SCORES), folder))
    where = "Glyphs" if reduced == "glyphs" else reduced
    return PaperTable(name, f"{table['title']}, reduced, on {where}", "", "", tuple(rows))


def _row(row: Mapping[str, Any], config: str, scores: Sequence[str], folder: Path) -> Row:
    scores = tuple(row.get("scores") or scores)
    return Row(
        name=row["name"],
        config=folder / config,
        options=row.get("options") or {},
        scores=scores,
        paper=tuple(row.get("paper") or [None] * len(scores)),
        prefix=row.get("prefix", ""),
        baseline=row.get("baseline", ""),
        note=row.get("note", ""),
    )
