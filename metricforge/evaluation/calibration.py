"""Measures the threshold below which a query counts as unknown, and how likely each similarity is a match."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression

from metricforge.arrays import Floats, Indices
from metricforge.calibration import Calibration as Calibration
from metricforge.errors import EmbeddingsError
from metricforge.interfaces import Similarity
from metricforge.structures import EmbeddingSet

RATE = 0.01  # of false accepts, unless another one is asked for
QUERIES = 2000  # images that are searched with, at most
NEIGHBOURS = 10  # of each query whose similarities tell how likely a match is
NUMBERS_AT_ONCE = 2**24
LEAST_CLASSES = 10
SPLITS = 1000
CONFIDENCE = 0.95
OF_SPLITS = 0.99  # lie in the interval: few classes seldom hold the worst; see the test of 200 sets of classes
MOST_POINTS = 200  # of the curve of probabilities


def calibrate_embeddings(
    queries: EmbeddingSet, gallery: EmbeddingSet | None, similarity: Similarity, rate: float = RATE
) -> Calibration:
    """Calibrate ``similarity`` on embedded images of classes that the model was not trained on.

    Args:
        queries: the images to search with; of more than ``QUERIES`` some are drawn.
        gallery: the images to search; None: the queries, each without itself. An image of the same id is left out.
        similarity: between their embeddings.
        rate: the wanted share of false accepts, above 0 and below 1.

    Raises:
        EmbeddingsError: for fewer than ``LEAST_CLASSES`` classes, or no neighbour of both kinds.
    """
    searched = queries if gallery is None else gallery
    ids = queries.ids
    assert ids is not None
    rows = np.sort(np.random.default_rng(0).permutation(len(queries))[:QUERIES])  # (Q,)
    device = next((each.device for each in similarity.parameters()), torch.device("cpu"))
    columns = torch.tensor(searched.embeddings, dtype=torch.float32, device=device)  # (G, D)
    impostors, genuine = np.empty(len(rows)), np.empty(len(rows))
    neighbours, is_match = [], []
    step = max(1, NUMBERS_AT_ONCE // len(searched))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]  # (b,)
        with torch.inference_mode():
            those = torch.tensor(queries.embeddings[block], dtype=torch.float32, device=device)  # (b, D)
            scores = similarity.pairwise(those, columns).double().cpu().numpy()  # (b, G)
        itself = ids[block][:, None] == searched.ids  # (b, G)
        same = queries.labels[block][:, None] == searched.labels  # (b, G)
        impostors[start : start + step] = np.where(same, -np.inf, scores).max(axis=1)
        genuine[start : start + step] = np.where(same & ~itself, scores, -np.inf).max(axis=1)
        scores[itself] = -np.inf
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]  # (b, K)
        kept = np.isfinite(np.take_along_axis(scores, nearest, axis=1))
        neighbours.append(np.take_along_axis(scores, nearest, axis=1)[kept])
        is_match.append(np.take_along_axis(same, nearest, axis=1)[kept].astype(np.int64))
    return calibrate(
        impostors,
        genuine,
        queries.labels[rows],
        np.concatenate(neighbours),
        np.concatenate(is_match),
        rate,
        gallery=len(searched),
    )


def calibrate(
    impostors: Floats,
    genuine: Floats,
    classes: Indices,
    neighbours: Floats,
    is_match: Indices,
    rate: float,
    *,
    gallery: int,
) -> Calibration:
    """Choose the threshold for ``rate`` false accepts, and measure what it does.

    The interval is of classes, not images: again and again one half of the classes chooses a threshold and the other
    half tries it, as classes will that nobody knows yet. All classes choose the one that counts, which is steadier.

    Args:
        impostors: for each query (Q,) the similarity of the nearest image of another class; -inf without one.
        genuine: that of the nearest of its own class; -inf without one.
        classes: the class of each query (Q,), any numbers.
        neighbours: similarities (P,) of neighbours of queries, and
        is_match: whether each is of the query's class (P,), 0 or 1.
        rate: the wanted share of false accepts, above 0 and below 1.
        gallery: images among which the queries were searched.

    Raises:
        EmbeddingsError: for fewer than ``LEAST_CLASSES`` classes, or no neighbour of both kinds.
        ValueError: for a rate outside 0..1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be above 0 and below 1, got {rate}")
    names, numbers = np.unique(classes, return_inverse=True)  # (C,), (Q,)
    if len(names) < LEAST_CLASSES:
        raise EmbeddingsError(
            f"a threshold is chosen on at least {LEAST_CLASSES} classes, and there are {len(names)}; name a folder or "
            "table of labelled images of more classes"
        )
    if not 0 < is_match.sum() < len(is_match):
        raise EmbeddingsError(
            f"{'every' if is_match.any() else 'no'} neighbour is of its query's class, so nothing can be told apart; "
            "name labelled images of classes that are searched for among others, several of each"
        )
    order = np.argsort(-impostors, kind="stable")
    ordered, owners = impostors[order], numbers[order]  # (Q,) from the most alike impostor on
    ones = np.ones((1, len(names)))
    threshold = float(_thresholds(ordered, owners, ones, rate)[0])
    draws = np.random.default_rng(0)
    ranks = draws.permuted(np.tile(np.arange(len(names)), (SPLITS, 1)), axis=1)
    chosen = (ranks < len(names) / 2).astype(np.float64)  # (R, C)
    rates = _rates(ordered, owners, 1 - chosen, _thresholds(ordered, owners, chosen, rate))  # (R,)
    tail = (1 - OF_SPLITS) / 2
    scores, probabilities = _curve(neighbours, is_match)
    return Calibration(
        threshold=threshold,
        wanted_rate=rate,
        rate=float(_rates(ordered, owners, ones, np.array([threshold]))[0]),
        low=float(np.quantile(rates, tail)),
        high=float(np.quantile(rates, 1 - tail)),
        confidence=CONFIDENCE,
        accepted=float(((genuine >= threshold) & (genuine >= impostors))[np.isfinite(genuine)].mean()),
        scores=scores,
        probabilities=probabilities,
        queries=len(impostors),
        classes=len(names),
        gallery=gallery,
    )


def _thresholds(ordered: Floats, owners: Indices, weights: Floats, rate: float) -> Floats:
    """For each set of classes (R, C) the least threshold (R,) that accepts at most ``rate`` of its impostors."""
    counts = weights[:, owners]  # (R, Q)
    passed = np.cumsum(counts, axis=1)  # impostors at least as alike as each
    allowed = rate * passed[:, -1]
    first_refused = (passed <= allowed[:, None]).sum(axis=1)  # (R,) the first that must not be accepted
    refused = ordered[np.minimum(first_refused, len(ordered) - 1)]
    return np.nextafter(refused, np.inf)


def _rates(ordered: Floats, owners: Indices, weights: Floats, thresholds: Floats) -> Floats:
    """The share (R,) of the impostors of each set of classes (R, C) that its threshold accepts."""
    counts = weights[:, owners]  # (R, Q)
    accepted = ordered[None] >= thresholds[:, None]  # (R, Q)
    rates: Floats = (counts * accepted).sum(axis=1) / counts.sum(axis=1)
    return rates


def _curve(neighbours: Floats, is_match: Indices) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Similarities and probabilities of a rising curve through what was seen."""
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(neighbours, is_match)
    scores, probabilities = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    if len(scores) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(scores) - 1, MOST_POINTS).round().astype(int))
        scores, probabilities = scores[kept], probabilities[kept]
    return tuple(map(float, scores)), tuple(map(float, probabilities))
