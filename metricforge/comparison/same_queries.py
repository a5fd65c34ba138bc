"""Whether two runs answered the same queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metricforge.evaluation import QueryScores


def on_the_same_queries(queries: QueryScores, first: QueryScores) -> QueryScores | None:
    """Return ``queries`` in the order of ``first``; None unless both have the same ids, classes and matches.

    If both say which queries count for a score, these must be the same too.
    """
    if len(queries) != len(first) or queries.ids.dtype.kind != first.ids.dtype.kind:
        return None
    order = np.argsort(queries.ids, kind="stable")
    place = order[np.searchsorted(queries.ids, first.ids, sorter=order).clip(max=len(order) - 1)]  # (Q,)
    aligned = replace(
        queries,
        ids=queries.ids[place],
        labels=queries.labels[place],
        has_match=queries.has_match[place],
        values={name: column[place] for name, column in queries.values.items()},
        nearest={name: column[place] for name, column in queries.nearest.items()},
        counted={name: column[place] for name, column in queries.counted.items()},
    )
    same_classes = (aligned.labels == first.labels).all() and aligned.class_names == first.class_names
    same = (aligned.ids == first.ids).all() and same_classes and (aligned.has_match == first.has_match).all()
    shared = aligned.counted.keys() & first.counted.keys()
    same = same and all((aligned.counted[score] == first.counted[score]).all() for score in shared)
    return aligned if same else None
