"""Two runs, query by query: what both find, what only one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metricforge.comparison import on_the_same_queries
from metricforge.run_report.opened_run import OpenedRun


def pairing_part(runs: Sequence[OpenedRun]) -> dict[str, Any] | None:
    """How many queries have a match first by both runs, by one and by neither; None unless this is known of both."""
    if len(runs) != 2:
        return None
    first, second = (run.scored.queries for run in runs)
    score = "recall@1"
    if first is None or second is None or score not in first.values or score not in second.values:
        return None
    other = on_the_same_queries(second, first)
    if other is None:
        return None
    counted = first.counted_for(score)
    one, two = (queries.values[score][counted].astype(bool) for queries in (first, other))
    return {
        "score": score,
        "queries": int(counted.sum()),
        "both": int((one & two).sum()),
        "only": [int((one & ~two).sum()), int((two & ~one).sum())],
        "neither": int((~one & ~two).sum()),
    }
