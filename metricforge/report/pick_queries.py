"""Choose the queries that a picture of retrieval results shows."""

from __future__ import annotations

import numpy as np

from metricforge.evaluation.context import EvaluationContext


def pick_queries(context: EvaluationContext, count: int, seed: int = 0) -> list[int]:
    """``count`` random queries, successes first: half whose nearest image is of their class, half where it is not.

    Too few of one kind are filled up with the other. Queries without a match in the gallery are never picked.

    Raises:
        ValueError: unless 1 <= ``count`` <= the number of queries with a match.
    """
    answerable = context.matches > 0
    if not 1 <= count <= answerable.sum():
        raise ValueError(f"count ({count}) must be in 1..{answerable.sum()}, the queries that have a match")
    generator = np.random.default_rng(seed)
    nearest_is_right = context.hits(1)[:, 0]
    successes = generator.permutation(np.flatnonzero(answerable & nearest_is_right))
    failures = generator.permutation(np.flatnonzero(answerable & ~nearest_is_right))
    failed = min(max(count // 2, count - len(successes)), len(failures))
    return [*successes[: count - failed].tolist(), *failures[:failed].tolist()]
