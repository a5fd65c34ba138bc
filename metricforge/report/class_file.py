"""The scores of all classes as a CSV or JSON file."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

from metricforge.atomic_write import write_atomically
from metricforge.csv_cells import text_cell
from metricforge.evaluation import QueryScores, class_scores, confused_classes


def write_class_csv(path: Path, queries: QueryScores) -> None:
    """Write a row for each class, in the order of labels: name, label, queries, those without a match, every score.

    The scores of a class without a query that has a match are empty.
    """
    rows = _rows(queries)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow([text_cell(heading) for heading in rows[0]])
    writer.writerows([text_cell(v) if isinstance(v, str) else v for v in row.values()] for row in rows)
    write_atomically(path, table.getvalue())


def write_class_json(path: Path, queries: QueryScores) -> None:
    """Write all classes as ``write_class_csv`` does, and all pairs of confused classes for each ranking."""
    content = {
        "classes": _rows(queries),
        "confused": {
            ranking or "model": [
                {
                    "first": queries.class_name(pair.first),
                    "second": queries.class_name(pair.second),
                    "first_as_second": pair.first_as_second,
                    "second_as_first": pair.second_as_first,
                }
                for pair in confused_classes(queries, ranking)
            ]
            for ranking in queries.nearest
        },
    }
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _rows(queries: QueryScores) -> list[dict[str, str | int | float | None]]:
    scores = class_scores(queries)
    return [
        {
            "class": queries.class_name(int(label)),
            "label": int(label),
            "queries": int(scores.queries[place]),
            "without_match": int(scores.without_match[place]),
            **{
                name: None if math.isnan(values[place]) else float(values[place])
                for name, values in scores.values.items()
            },
        }
        for place, label in enumerate(scores.labels)
    ]
