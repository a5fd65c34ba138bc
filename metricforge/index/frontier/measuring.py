"""Measures every choice of a frontier on embeddings: accuracy, bytes and milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from metricforge.arrays import Array, Flags, Floats, Floats32, Indices
from metricforge.errors import EmbeddingsError
from metricforge.index.frontier.choice import ALL, Choice, Frontier, with_pareto
from metricforge.index.frontier.plan import plan_frontier
from metricforge.index.kinds import SPARE, build_structure, efforts, resident_bytes, search_structure, space_of
from metricforge.index.segment import nearest_rows, prepared
from metricforge.spaces import Space

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

SCORES = ("recall@1", "map@r")
TIMED = 200  # queries, one after the other
COMPARED = 200  # queries on which an approximate kind's effort is chosen
QUERIES_AT_ONCE = 1024
RECALL = 0.95


def count_matches(labels: Array) -> tuple[Indices, Indices]:
    """The class of each image (N,) as a number, and how many others are of it (N,).

    Raises:
        EmbeddingsError: for an image without a label, or if no class has two images.
    """
    unlabelled = sum(label is None for label in labels.tolist())
    if unlabelled:
        raise EmbeddingsError(
            f"{unlabelled:,} images have no label, which measuring accuracy needs; label or remove them"
        )
    _, numbers, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    matches = counts[numbers] - 1
    if not matches.any():
        raise EmbeddingsError(
            "no class has two images, so no query has a match; name a SOURCE with several images of a class"
        )
    return numbers, matches


def measure_frontier(
    embeddings: Floats32,
    labels: Array,
    similarity: Similarity | ArraySimilarity,
    *,
    score: str = "recall@1",
    spaces: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    recall: float | None = None,
    most_queries: int = 10_000,
    on_choice: Callable[[int], object] = lambda count: None,
) -> Frontier:
    """Measure every kind of index on the embeddings in every space; each image searches the others.

    Apart from the milliseconds, the same embeddings give the same figures.

    Args:
        embeddings: (N, D), of labelled images that the model was not trained on.
        labels: the class of each (N,).
        similarity: the model's; it has no weights.
        score: "recall@1" or "map@r".
        spaces: "all" and names that ``Space`` takes; None: ``default_spaces``.
        kinds: of index; None: all that N allows.
        recall: share of the ten nearest images that an approximate kind is to find; None: 0.95.
        most_queries: if there are more images, so many of them, drawn at random, are searched with.
        on_choice: called with 1 for each choice measured.

    Raises:
        EmbeddingsError: for a similarity that is learned, labels without two images of a class, or a kind, space or
            recall that cannot take effect.
        ValueError: for another score.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
    images, dim = embeddings.shape
    plan = plan_frontier(dim, images, similarity, spaces, kinds, recall)
    classes, matches = count_matches(labels)
    queries = np.flatnonzero(matches)
    if len(queries) > most_queries:
        queries = np.sort(np.random.default_rng(0).permutation(queries)[:most_queries])
    task = _Task(embeddings, similarity, queries, classes, matches, score, RECALL if recall is None else recall)
    choices = []
    with threadpool_limits(limits=1):  # on several threads, HNSW joins vectors in another order each time
        for space in plan.spaces:
            measured = _InSpace(task, space)
            for kind, refined in plan.ways(space):
                choices.append(measured.measure(kind, refined))
                on_choice(1)
    return Frontier(
        choices=with_pareto(sorted(choices, key=lambda each: (each.bytes_a_vector, -each.score, each.name))),
        score=score,
        images=images,
        dim=dim,
        queries=len(queries),
        without_match=int((matches == 0).sum()),
        left_out=plan.left_out,
    )


class _Task(NamedTuple):
    """What every choice is measured on: ``queries`` (Q,) are rows, ``classes`` and ``matches`` are of all rows (N,)."""

    embeddings: Floats32
    similarity: Similarity | ArraySimilarity
    queries: Indices
    classes: Indices
    matches: Indices
    score: str
    recall: float


class _InSpace:
    """The embeddings in one space, and what each kind of index finds there."""

    def __init__(self, task: _Task, space: str) -> None:
        self._task, self._name, self._queries = task, space, task.queries
        changed = task.embeddings if space == ALL else Space(space).transformed(task.embeddings, None, 0)[0]
        self._vectors: Floats32 = np.ascontiguousarray(prepared(task.similarity, changed))  # (N, D')
        self._space = space_of(task.similarity)
        self._k = 2 if task.score == "recall@1" else int(task.matches.max()) + 1  # a query finds itself too

    def measure(self, kind: str, refined: bool) -> Choice:
        structure = None if kind == "flat" else build_structure(kind, self._vectors, self._space)
        search = partial(self._search, structure, kind, refined)
        effort = self._effort(search, kind)
        score = self._accuracy(partial(search, effort=effort))
        dim = self._vectors.shape[1]
        return Choice(
            space=self._name,
            kind=kind,
            refined=refined,
            effort=effort,
            score=score,
            bytes_a_vector=resident_bytes(kind, dim) + (4 * dim if refined else 0),
            milliseconds_a_query=self._milliseconds(partial(search, effort=effort)),
        )

    def _search(self, structure: Any, kind: str, refined: bool, queries: Floats32, k: int, effort: int) -> Indices:
        """The rows (Q, k) that are found, best first; -1 where there are no more."""
        k = min(k, len(self._vectors))
        wanted = min(k + SPARE, len(self._vectors)) if refined else k
        if structure is None:
            return nearest_rows(queries, self._vectors, k, self._space)
        found = search_structure(structure, kind, queries, wanted, None, effort)
        return self._in_order(queries, found)[:, :k] if refined else found

    def _in_order(self, queries: Floats32, found: Indices) -> Indices:
        """``found`` (Q, c) in the order of the stored vectors."""
        candidates = self._vectors[found]  # (Q, c, D')
        if self._space.metric == "ip":
            scores = np.einsum("qcd,qd->qc", candidates, queries)
        else:
            scores = -np.square(candidates - queries[:, None]).sum(axis=2)
        order = np.argsort(np.where(found < 0, np.inf, -scores), axis=1, kind="stable")
        return np.take_along_axis(found, order, axis=1)

    def _effort(self, search: Callable[..., Indices], kind: str) -> int:
        """The least effort that finds the wanted share of the ten nearest images, else the greatest."""
        offered = efforts(kind)
        if len(offered) == 1:
            return offered[0]
        rows = self._queries[:COMPARED]
        exact = nearest_rows(self._vectors[rows], self._vectors, min(11, len(self._vectors)), self._space)
        for effort in offered:
            found = search(queries=self._vectors[rows], k=11, effort=effort)
            shares = [len(np.intersect1d(one, other)) / len(one) for one, other in zip(exact, found, strict=True)]
            if np.mean(shares) >= self._task.recall:
                return effort
        return offered[-1]

    def _accuracy(self, search: Callable[..., Indices]) -> float:
        values = []
        for start in range(0, len(self._queries), QUERIES_AT_ONCE):
            rows = self._queries[start : start + QUERIES_AT_ONCE]
            found = search(queries=np.ascontiguousarray(self._vectors[rows]), k=self._k)
            values.append(score_of(self._task.score, rows, found, self._task.classes, self._task.matches))
        return float(np.concatenate(values).mean())

    def _milliseconds(self, search: Callable[..., Indices]) -> float:
        draws = np.random.default_rng(0)
        rows = draws.choice(self._queries, size=min(TIMED, len(self._queries)), replace=False)
        seconds = []
        for row in rows:
            query = np.ascontiguousarray(self._vectors[row : row + 1])
            started = time.perf_counter()
            search(queries=query, k=11)
            seconds.append(time.perf_counter() - started)
        return 1000 * float(np.median(seconds))


def score_of(name: str, queries: Indices, found: Indices, labels: Indices, matches: Indices) -> Floats:
    """The score (Q,) of each query's neighbours, among which it does not count itself.

    Args:
        name: "recall@1" or "map@r".
        queries: rows (Q,).
        found: the rows (Q, k) found for each, best first, itself perhaps among them; -1: no more.
        labels: of every row (N,).
        matches: R of every row (N,), at least 1 for a query.
    """
    counts: Flags = (found >= 0) & (found != queries[:, None])
    order = np.argsort(~counts, axis=1, kind="stable")
    others, counts = np.take_along_axis(found, order, axis=1), np.take_along_axis(counts, order, axis=1)  # (Q, k)
    hits = counts & (labels[others] == labels[queries][:, None])
    if name == "recall@1":
        return hits[:, 0].astype(np.float64)
    ranks = np.arange(1, hits.shape[1] + 1)
    r = matches[queries][:, None]  # (Q, 1)
    precision = np.cumsum(hits, axis=1) / ranks
    found_precision: Floats = (precision * hits * (ranks <= r)).sum(axis=1) / r[:, 0]
    return found_precision
