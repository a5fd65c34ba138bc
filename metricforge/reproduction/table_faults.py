"""What is wrong with a table as it was read from a file: every fault, with where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from metricforge.argument_types import is_number
from metricforge.spelling import nearest

_TABLE_KEYS = ("title", "source", "note", "config", "scores", "rows", "reduced")
_ROW_KEYS = ("name", "config", "options", "scores", "prefix", "baseline", "paper", "note")
_REDUCED_KEYS = ("config", "scores", "rows")
_FORMS = ("glyphs", "folder")


def table_faults(name: str, table: Any, folder: Path) -> list[str]:
    """Every fault of ``table``, called ``name``, whose configs are in ``folder``; none for one that can be used."""
    if not isinstance(table, Mapping):
        return [f"{name}: must map {', '.join(_TABLE_KEYS)} to their values, got {table!r}"]
    faults = _unknown(name, table, _TABLE_KEYS)
    faults += [
        f"{name}.{key}: is missing" for key in ("title", "source", "scores", "rows", "reduced") if not table.get(key)
    ]
    faults += [fault for key in ("title", "source", "note") for fault in _text(f"{name}.{key}", table.get(key))]
    faults += _names(f"{name}.scores", table.get("scores"))
    faults += _config(f"{name}.config", table.get("config"), folder)
    faults += _rows_faults(f"{name}.rows", table.get("rows"), table, folder, reduced=False)
    reduced = table.get("reduced")
    if reduced and not isinstance(reduced, Mapping):
        faults.append(f"{name}.reduced: must map {', '.join(_REDUCED_KEYS)} to their values, got {reduced!r}")
    elif reduced:
        faults += _unknown(f"{name}.reduced", reduced, _REDUCED_KEYS)
        faults += _names(f"{name}.reduced.scores", reduced.get("scores"))
        faults += _reduced_config(f"{name}.reduced.config", reduced.get("config"), folder)
        faults += _rows_faults(f"{name}.reduced.rows", reduced.get("rows"), reduced, folder, reduced=True)
        if not reduced.get("rows") and not reduced.get("config"):
            faults.append(f"{name}.reduced: needs a config, its own or that of each of its rows")
    return faults


def options_on(form: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``options`` of a reduced row on ``form``, which may be told for glyphs and folder apart."""
    return options[form] if set(options) == set(_FORMS) else dict(options)


def _rows_faults(where: str, rows: Any, around: Mapping[str, Any], folder: Path, *, reduced: bool) -> list[str]:
    if not rows:
        return []
    if not isinstance(rows, list):
        return [f"{where}: must be a list of rows, got {rows!r}"]
    faults: list[str] = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        here = f"{where}[{number}]"
        if not isinstance(row, Mapping):
            faults.append(f"{here}: must map {', '.join(_ROW_KEYS)} to their values, got {row!r}")
            continue
        faults += _row_faults(here, row, around, folder, reduced=reduced)
        name = str(row.get("name"))
        if name in first:
            faults.append(
                f"{here}.name: {name!r} is that of {where}[{first[name]}] too; give each row a name of its own"
            )
        first.setdefault(name, number)
    return faults


def _row_faults(
    here: str, row: Mapping[str, Any], around: Mapping[str, Any], folder: Path, *, reduced: bool
) -> list[str]:
    faults = _unknown(here, row, _ROW_KEYS)
    if not row.get("name"):
        faults.append(f"{here}.name: is missing")
    faults += [
        fault for key in ("name", "prefix", "baseline", "note") for fault in _text(f"{here}.{key}", row.get(key))
    ]
    faults += _names(f"{here}.scores", row.get("scores"))
    faults += (_reduced_config if reduced else _config)(f"{here}.config", row.get("config"), folder)
    if not (row.get("config") or around.get("config")):
        faults.append(f"{here}: needs a config, its own or the table's")
    options = row.get("options")
    both = [options_on(form, options) for form in _FORMS] if reduced and isinstance(options, Mapping) else [options]
    if not all(
        each is None or (isinstance(each, Mapping) and all(isinstance(key, str) for key in each)) for each in both
    ):
        faults.append(
            f"{here}.options: must map dotted config keys, such as model.head.dim, to values, got {options!r}"
        )
    paper, scores = row.get("paper"), row.get("scores") or around.get("scores") or []
    if paper is not None and reduced:
        faults.append(f"{here}.paper: a reduced table has nothing to compare with; leave it out")
    elif paper is not None and not _are_figures(paper):
        faults.append(f"{here}.paper: must be a list of figures in per cent, 0 to 100, or null, got {paper!r}")
    elif paper is not None and isinstance(scores, list) and len(paper) != len(scores):
        faults.append(
            f"{here}.paper: has {len(paper)} figures for the {len(scores)} scores {', '.join(map(str, scores))}"
        )
    return faults


def _are_figures(paper: Any) -> bool:
    def is_figure(value: Any) -> bool:
        return value is None or (is_number(value) and 0 <= value <= 100)

    return isinstance(paper, list) and all(map(is_figure, paper))


def _unknown(where: str, found: Mapping[str, Any], known: Collection[str]) -> list[str]:
    return [
        f"{where}.{key}: there is no such key{nearest(str(key), sorted(known))}" for key in found if key not in known
    ]


def _text(where: str, value: Any) -> list[str]:
    return (
        [] if value is None or isinstance(value, str) else [f"{where}: must be text, got {value!r}; put it in quotes"]
    )


def _names(where: str, value: Any) -> list[str]:
    if not value or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return []
    return [f"{where}: must be a list of scores, such as [recall@1, nmi], got {value!r}"]


def _config(where: str, value: Any, folder: Path) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str):
        return [f"{where}: must be the name of a config file, got {value!r}"]
    if (folder / value).is_file():
        return []
    return [f"{where}: there is no {folder / value}{nearest(value, sorted(file.name for file in folder.glob('*.py')))}"]


def _reduced_config(where: str, value: Any, folder: Path) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping) or not value or not set(value) <= set(_FORMS):
        return [f"{where}: must name a config file for glyphs, for folder, or one for each, got {value!r}"]
    return [fault for form in value for fault in _config(f"{where}.{form}", value[form], folder)]
