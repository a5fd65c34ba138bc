"""``scores.json``: scores and their protocol in one file, with per-query results beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from metricforge.atomic_write import write_atomically
from metricforge.evaluation.results.query_scores import QueryScores
from metricforge.evaluation.results.query_scores_file import query_scores_path, write_query_scores


def write_scores(
    path: Path | str,
    scores: Mapping[str, float],
    protocol: Mapping[str, object],
    queries: QueryScores | None = None,
) -> None:
    """Write ``{"scores": ..., "protocol": ...}`` to ``path`` atomically, each score in full precision.

    ``queries`` go to ``query_scores_path(path)``; without them, one left from earlier scores is deleted. Missing
    folders are created.

    Raises:
        ValueError: for a score that is not finite.
        TypeError: for a protocol that JSON cannot hold.
    """
    path = Path(path)
    broken = {name: value for name, value in scores.items() if not math.isfinite(value)}
    if broken:
        raise ValueError(f"scores must be finite, got {broken}; nothing was written to {path}")
    content = {"scores": {name: float(value) for name, value in scores.items()}, "protocol": dict(protocol)}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if queries is None:
        query_scores_path(path).unlink(missing_ok=True)
    else:
        write_query_scores(query_scores_path(path), queries)
    write_atomically(path, text)


def read_scores(path: Path | str) -> tuple[dict[str, float], dict[str, object]]:
    """Read the scores and the protocol that ``write_scores`` wrote to ``path``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a scores file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        scores = {str(name): float(value) for name, value in content["scores"].items()}
        return scores, dict(content["protocol"])
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(
            f'{path} is not a scores file, which holds {{"scores": {{...}}, "protocol": {{...}}}}: '
            f"{type(fault).__name__}: {fault}"
        ) from fault
