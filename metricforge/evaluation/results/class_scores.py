"""Scores of single classes, and pairs of classes that are confused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metricforge.arrays import Floats, Indices
from metricforge.evaluation.results.query_scores import QueryScores


@dataclass(frozen=True)
class ClassScores:
    """One value for each of C classes, in the order of their labels.

    Args:
        labels: the classes (C,).
        queries: how many of their queries have a match, and are scored (C,).
        without_match: how many have none (C,).
        values: from the name of a score to its mean over the class's queries (C,); NaN where none of them counts.
        counted: from the name of a score to how many queries of each class count for it (C,).
    """

    labels: Indices
    queries: Indices
    without_match: Indices
    values: Mapping[str, Floats]
    counted: Mapping[str, Indices]

    def worst(self, score: str) -> Indices:
        """Return the indices of the scored classes by rising ``score``; among equal scores, more queries first."""
        counted = self.counted[score]
        order = np.lexsort((self.labels, -counted, self.values[score]))
        return order[counted[order] > 0]


@dataclass(frozen=True)
class ConfusedClasses:
    """Two classes, by label, and how many queries of each have an image of the other as their nearest."""

    first: int
    second: int
    first_as_second: int
    second_as_first: int


def class_scores(queries: QueryScores) -> ClassScores:
    """Average every score of ``queries`` by class."""
    labels, of_query = np.unique(queries.labels, return_inverse=True)  # (C,), (Q,)
    sizes = np.bincount(of_query)  # (C,)
    scored = np.bincount(of_query[queries.has_match], minlength=len(labels))
    values, counted = {}, {}
    for score, column in queries.values.items():
        mask = queries.counted_for(score)  # (Q,)
        sums = np.bincount(of_query[mask], column[mask].astype(np.float64), len(labels))  # (C,)
        counted[score] = np.bincount(of_query[mask], minlength=len(labels))
        unscored = np.full(len(labels), np.nan)
        values[score] = np.divide(sums, counted[score], out=unscored, where=counted[score] > 0)
    return ClassScores(labels, scored, sizes - scored, values, counted)


def confused_classes(queries: QueryScores, ranking: str = "") -> list[ConfusedClasses]:
    """List pairs of classes where queries of one have a nearest image of the other, the most confused first.

    Only queries with a match are counted. Pairs are sorted by the sum of both directions, then by label; ``first`` is
    the class that is more often taken for the other.

    Args:
        queries: with the labels of the nearest images.
        ranking: the one that says which image is nearest; ``""`` is the model's own.

    Raises:
        ValueError: for a ranking whose nearest images are not known.
    """
    if ranking not in queries.nearest:
        raise ValueError(
            f'the nearest images by the ranking "{ranking}" are not known, only those by '
            f"{', '.join(repr(name) for name in queries.nearest) or 'none'}"
        )
    is_confused = queries.has_match & (queries.nearest[ranking] != queries.labels)
    pairs = np.column_stack([queries.labels[is_confused], queries.nearest[ranking][is_confused]])  # (W, 2): from, to
    directed, counts = np.unique(pairs, axis=0, return_counts=True)
    found = {(int(a), int(b)): int(count) for (a, b), count in zip(directed, counts, strict=True)}
    confused = []
    for one, other in {(min(pair), max(pair)) for pair in found}:
        there, back = found.get((one, other), 0), found.get((other, one), 0)
        confused.append(
            ConfusedClasses(one, other, there, back) if there >= back else ConfusedClasses(other, one, back, there)
        )
    return sorted(confused, key=lambda pair: (-pair.first_as_second - pair.second_as_first, pair.first, pair.second))
