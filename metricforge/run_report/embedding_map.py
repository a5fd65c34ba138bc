"""The embeddings in two dimensions, and what the page needs to search among them."""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from metricforge.arrays import Array, Bytes, Floats32, Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.search.exact_knn import exact_knn
from metricforge.evaluation.search.prepared_embeddings import prepared_embeddings
from metricforge.run_report.retrieval import Retrieval
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

Method = Literal["umap", "tsne"]
TITLES: Mapping[Method, str] = {"umap": "UMAP", "tsne": "t-SNE"}
MOST_POINTS = 100_000
MOST_POINTS_OF_TSNE = 20_000  # beyond which it takes tens of minutes
FEWEST_POINTS = 5
UMAP_NEIGHBOURS = 15  # an image itself among them
NUMBERS_OF_NEIGHBOURS = 600_000  # in the file: eight of each image up to 75,000 images, fewer of more
STEPS = 65_535
WRONG, RIGHT, NO_QUERY = 0, 1, 2


@dataclass(frozen=True)
class MapPoints:
    """The images on the map, queries first.

    Args:
        rows: indices (N,) into the queries' embeddings, then into the gallery's.
        ids: image ids (N,).
        labels: classes (N,).
        outcome: whether the nearest image is of the same class (N,): ``WRONG``, ``RIGHT`` or ``NO_QUERY``.
        queries: how many of them, the first ones, are queries.
        available: how many images there are; more than N where only a sample is drawn.
        training: how many of them, the last ones, are of training classes; their rows, ids and labels begin after those
            of the test.
    """

    rows: Indices
    ids: Indices
    labels: Indices
    outcome: Bytes
    queries: int
    available: int
    training: int = 0


def map_points(context: EvaluationContext, retrieval: Retrieval) -> MapPoints:
    """All images that were embedded, or a sample of ``MOST_POINTS``; one that is query and gallery image is one."""
    assert context.queries.ids is not None
    assert context.gallery.ids is not None
    outcome = np.where(context.task.has_match, retrieval.is_match[:, 0], NO_QUERY).astype(np.uint8)  # (Q,)
    others = np.zeros(0, dtype=np.int64)
    if not context.searches_itself:
        others = np.flatnonzero(~np.isin(context.gallery.ids, context.queries.ids))
    count = len(context.queries)
    available = count + len(others)
    chosen = np.arange(available)
    if available > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(context.seed).permutation(available)[:MOST_POINTS])
    queries, images = chosen[chosen < count], others[chosen[chosen >= count] - count]
    return MapPoints(
        np.concatenate([queries, images]),
        np.concatenate([context.queries.ids[queries], context.gallery.ids[images]]),
        np.concatenate([context.queries.labels[queries], context.gallery.labels[images]]),
        np.concatenate([outcome[queries], np.full(len(images), NO_QUERY, dtype=np.uint8)]),
        len(queries),
        available,
    )


def with_training(points: MapPoints, images: int, labels: Indices) -> MapPoints:
    """``points`` with training images of classes ``labels`` (T,) behind, whose ids begin at ``images``."""
    count = len(labels)
    return MapPoints(
        np.concatenate([points.rows, np.arange(count)]),
        np.concatenate([points.ids, images + np.arange(count)]),
        np.concatenate([points.labels, labels]),
        np.concatenate([points.outcome, np.full(count, NO_QUERY, dtype=np.uint8)]),
        points.queries,
        points.available + count,
        count,
    )


def rows_of(context: EvaluationContext, points: MapPoints, training: EmbeddingSet | None = None) -> Floats32:
    """The embeddings (N, D) of ``points``, as the similarity compares them by their Euclidean distance."""
    if training is not None and points.training:
        tested = len(points.ids) - points.training
        of_test = replace(points, rows=points.rows[:tested], ids=points.ids[:tested], training=0)
        return np.concatenate([rows_of(context, of_test), _prepared(context, training.embeddings)])
    queries = _prepared(context, context.queries.embeddings)
    if context.searches_itself:
        return queries[points.rows]
    gallery = _prepared(context, context.gallery.embeddings)
    return np.concatenate([queries[points.rows[: points.queries]], gallery[points.rows[points.queries :]]])


def lay_out(rows: Floats32, method: Method, seed: int) -> Floats32:
    """Positions (N, 2) of ``rows`` (N, D), the same for the same seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one thread, which a seed asks for, and of points without a neighbour
        if method == "umap":
            from umap import UMAP

            neighbours = min(UMAP_NEIGHBOURS, len(rows) - 1)
            maker: Any = UMAP(
                n_neighbors=neighbours,
                min_dist=0.08,
                init="pca",
                random_state=seed,
                n_jobs=1,
                precomputed_knn=nearest_rows(rows, neighbours),
            )
        else:
            from sklearn.manifold import TSNE

            perplexity = min(30.0, (len(rows) - 1) / 3)
            init = "pca" if rows.shape[1] > 1 else "random"
            # a third of the time of scikit-learn's defaults: larger and fewer steps, farther points taken together
            rate = max(50.0, len(rows) / 12)
            maker = TSNE(
                perplexity=perplexity, init=init, random_state=seed, learning_rate=rate, max_iter=500, angle=0.8
            )
        positions: Floats32 = np.asarray(maker.fit_transform(rows), dtype=np.float32)
    return positions


def nearest_rows(rows: Floats32, k: int) -> tuple[Indices, Floats32]:
    """The ``k`` nearest of ``rows`` (N, D) to each, itself first, and their Euclidean distances: both (N, k).

    The exact search takes a fraction of the time in which umap's own, an approximate one, is compiled.
    """
    found = exact_knn(None, rows, EuclideanSimilarity(), k - 1)  # (N, k - 1)
    itself = np.arange(len(rows))
    columns = [itself, *found.T]
    distances = [np.linalg.norm(rows - rows[column], axis=1) for column in columns]  # each (N,)
    return np.stack(columns, axis=1), np.stack(distances, axis=1).astype(np.float32)


def map_json(
    context: EvaluationContext, points: MapPoints, layouts: Mapping[Method, Floats32], retrieval: Retrieval
) -> dict[str, Any]:
    """The map as JSON's types: columns of little-endian numbers in base64.

    Neighbours are ids, of the queries alone; similarities and distances are in ``STEPS`` steps between their extremes.
    """
    kept = min(8, retrieval.found.shape[1], max(1, NUMBERS_OF_NEIGHBOURS // max(1, points.queries)))
    rows = points.rows[: points.queries]
    assert context.gallery.ids is not None
    return {
        "ids": _base64(points.ids, "<u4"),
        "labels": _base64(points.labels, "<u4"),
        "outcome": _base64(points.outcome, "u1"),
        "queries": points.queries,
        "available": points.available,
        "training": points.training,
        "layouts": {TITLES[name]: _base64(_steps(at, axis=0)[0], "<u2") for name, at in layouts.items()},
        "neighbours": kept,
        "found": _base64(context.gallery.ids[retrieval.found[rows, :kept]], "<u4"),
        "match": _base64(retrieval.is_match[rows, :kept], "u1"),
        "scores": _column(retrieval.scores[rows, :kept]),
        "distances": _column(retrieval.distances[rows, :kept]),
        "confidence": _column(retrieval.confidence[rows]),
    }


def _column(values: Floats32) -> dict[str, Any]:
    steps, low, high = _steps(values)
    return {"low": float(low), "high": float(high), "steps": _base64(steps, "<u2")}


def _steps(values: Floats32, axis: int | None = None) -> tuple[Array, Array, Array]:
    low, high = values.min(axis=axis), values.max(axis=axis)
    unit = np.where(high > low, high - low, 1)
    return np.rint((values - low) / unit * STEPS), low, high


def _base64(values: Array, kind: str) -> str:
    return b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _prepared(context: EvaluationContext, embeddings: Array) -> Floats32:
    rows: Floats32 = prepared_embeddings(embeddings, context.similarity, context.device).cpu().numpy()
    return rows
