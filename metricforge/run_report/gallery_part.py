"""The queries that the page shows with what they find, spread over classes, successes and failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metricforge.arrays import Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.retrieval import Retrieval

NEIGHBOURS = 8


def pick_gallery(context: EvaluationContext, retrievals: Sequence[Retrieval], count: int) -> Indices:
    """Choose at most ``count`` queries with a match, as indices: of each outcome as many as of the others.

    An outcome is which of the runs find a match at once; within one, classes take turns. What an outcome lacks the
    others fill up.
    """
    answerable = np.flatnonzero(context.task.has_match)
    draws = np.random.default_rng(context.seed)
    outcomes = np.zeros(len(context.queries), dtype=np.int64)
    for number, retrieval in enumerate(retrievals):
        outcomes += retrieval.is_match[:, 0].astype(np.int64) << number
    queues = [
        _by_turns(draws.permutation(answerable[outcomes[answerable] == outcome]), context.queries.labels)
        for outcome in range(1 << len(retrievals))
    ]
    chosen = _by_turns_of_queues(queues)[:count]
    return np.sort(chosen)


def gallery_json(context: EvaluationContext, retrievals: Sequence[Retrieval], queries: Indices) -> list[dict[str, Any]]:
    """For each of ``queries`` its image, class, and for each run what it found, as JSON's types."""
    assert context.queries.ids is not None
    assert context.gallery.ids is not None
    rows = []
    for query in queries.tolist():
        rows.append(
            {
                "id": int(context.queries.ids[query]),
                "label": int(context.queries.labels[query]),
                "runs": [_found(context.gallery.ids, retrieval, query) for retrieval in retrievals],
            }
        )
    return rows


def _found(ids: Indices, retrieval: Retrieval, query: int) -> dict[str, Any]:
    shown = slice(0, NEIGHBOURS)
    return {
        "ids": ids[retrieval.found[query, shown]].tolist(),
        "labels": retrieval.labels[query, shown].tolist(),
        "match": retrieval.is_match[query, shown].astype(int).tolist(),
        "scores": [_short(value) for value in retrieval.scores[query, shown]],
        "distances": [_short(value) for value in retrieval.distances[query, shown]],
        "confidence": _short(retrieval.confidence[query]),
    }


def image_ids(context: EvaluationContext, retrievals: Sequence[Retrieval], queries: Indices) -> list[int]:
    """The images that the gallery shows: all queries, then the nearest of each, then the second nearest, ..."""
    assert context.queries.ids is not None
    assert context.gallery.ids is not None
    ids = context.queries.ids[queries].tolist()
    for rank in range(min(NEIGHBOURS, retrievals[0].found.shape[1])):
        for retrieval in retrievals:
            ids += context.gallery.ids[retrieval.found[queries, rank]].tolist()
    return ids


def _by_turns(queries: Indices, labels: Indices) -> Indices:
    """``queries`` so that each class has had its first before any has its second."""
    its = labels[queries]
    order = np.argsort(its, kind="stable")
    _, starts, sizes = np.unique(its[order], return_index=True, return_counts=True)
    turn = np.empty(len(queries), dtype=np.int64)
    turn[order] = np.arange(len(queries)) - np.repeat(starts, sizes)
    return queries[np.argsort(turn, kind="stable")]


def _by_turns_of_queues(queues: Sequence[Indices]) -> Indices:
    longest = max(map(len, queues), default=0)
    table = np.full((longest, len(queues)), -1, dtype=np.int64)
    for number, queue in enumerate(queues):
        table[: len(queue), number] = queue
    flat = table.ravel()
    return flat[flat >= 0]


def _short(value: float) -> float:
    """Four significant digits are more than are shown."""
    return float(f"{value:.4g}")
