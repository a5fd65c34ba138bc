"""``scores.queries.npz``: per-query results, beside ``scores.json``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metricforge.atomic_write import atomic_write
from metricforge.damaged_arrays import DAMAGED_ARRAY
from metricforge.evaluation.results.query_scores import Column, QueryScores

VALUE, NEAREST, COUNTED = "value:", "nearest:", "counted:"


def query_scores_path(scores_path: Path | str) -> Path:
    """Return the path of per-query results: ``scores.queries.npz`` for ``scores.json``."""
    path = Path(scores_path)
    return path.with_name(f"{path.name.removesuffix('.json')}.queries.npz")


def write_query_scores(path: Path | str, queries: QueryScores) -> None:
    """Write ``queries`` to ``path`` atomically, compressed, as arrays that ``numpy.load`` reads.

    These are ``ids``, ``labels``, ``has_match``, ``class_names`` where there are any, ``value:<score>`` for each score,
    ``nearest:<ranking>`` for each ranking and ``counted:<score>`` for scores of other queries than those with a match.
    """
    columns = {"ids": queries.ids, "labels": queries.labels, "has_match": queries.has_match}
    columns |= {f"{VALUE}{score}": column for score, column in queries.values.items()}
    columns |= {f"{NEAREST}{ranking}": column for ranking, column in queries.nearest.items()}
    columns |= {f"{COUNTED}{score}": column for score, column in queries.counted.items()}
    if queries.class_names is not None:
        columns["class_names"] = np.array(queries.class_names, dtype=str)
    with atomic_write(path) as file:
        np.savez_compressed(file, **columns)  # type: ignore[arg-type]


def read_query_scores(path: Path | str) -> QueryScores:
    """Read what ``write_query_scores`` wrote to ``path``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold per-query results.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        return QueryScores(
            columns["ids"],
            columns["labels"],
            columns["has_match"],
            _led_by(VALUE, columns),
            _led_by(NEAREST, columns),
            tuple(columns["class_names"].tolist()) if "class_names" in columns else None,
            _led_by(COUNTED, columns),
        )
    except FileNotFoundError:
        raise
    except (*DAMAGED_ARRAY, KeyError, AttributeError) as fault:
        raise ValueError(f"{path} does not hold the scores of queries: {type(fault).__name__}: {fault}") from fault


def _led_by(prefix: str, columns: dict[str, Column]) -> dict[str, Column]:
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
