"""Classes that lie in each other, and images that lie far from their own class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricforge.arrays import Floats32, Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.retrieval import Retrieval

NEIGHBOURS = 10
FEWEST_OF_CLASS = 4  # images, below which nothing is usual for a class


@dataclass(frozen=True)
class Overlap:
    """Classes ``first`` and ``second``, and the ``share`` of both's nearest neighbours that are of the other."""

    first: int
    second: int
    share: float


@dataclass(frozen=True)
class Outlier:
    """The query with index ``query``, ``times`` as far from the mean of its class's others as is usual there."""

    query: int
    times: float


def overlapping_classes(context: EvaluationContext, retrieval: Retrieval, count: int) -> list[Overlap]:
    """The ``count`` pairs of classes that overlap most: by neighbours of one among those of the other's queries."""
    depth = min(NEIGHBOURS, retrieval.found.shape[1])
    labels = np.repeat(context.queries.labels, depth)
    others = retrieval.labels[:, :depth].ravel()
    crossing = labels != others
    pairs = np.sort(np.stack([labels[crossing], others[crossing]], axis=1), axis=1)
    if not len(pairs):
        return []
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    sizes = np.bincount(context.queries.labels, minlength=int(found.max()) + 1)
    shares = counts / (depth * sizes[found].sum(axis=1))
    order = np.lexsort((found[:, 1], found[:, 0], -shares))[:count]
    return [Overlap(int(found[place, 0]), int(found[place, 1]), float(shares[place])) for place in order]


def outliers(labels: Indices, rows: Floats32, count: int) -> list[Outlier]:
    """The ``count`` of ``rows`` (N, D) that are farthest from the mean of the others of their class (N,).

    Far is relative to the median of the class. Classes of fewer than ``FEWEST_OF_CLASS`` images have none, nor have
    those in which most images are the same.
    """
    _, of, sizes = np.unique(labels, return_inverse=True, return_counts=True)  # (N,), (C,)
    sums = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(sums, of, rows)
    distances = np.zeros(len(rows))
    many = sizes[of] >= FEWEST_OF_CLASS
    means = (sums[of[many]] - rows[many]) / (sizes[of[many]] - 1)[:, None]
    distances[many] = np.linalg.norm(rows[many] - means, axis=1)
    order = np.lexsort((distances, of))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    medians = distances[order][starts + sizes // 2]  # (C,), the upper one of two
    times = np.divide(distances, medians[of], out=np.zeros(len(rows)), where=medians[of] > 0)
    return [Outlier(int(place), float(times[place])) for place in np.argsort(-times, kind="stable")[:count]]
