"""How a mean over queries would vary with the classes of the test set: a bootstrap that draws classes."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array, Floats, Indices

COUNTS_AT_ONCE = 2**21


def resampled_means(values: Array, labels: Indices, resamples: int, seed: int) -> Floats:
    """Return means (resamples, S) of ``values`` (Q, S) over the queries of classes drawn with replacement.

    A resample draws as many classes as ``labels`` (Q,) have, each with all its queries, and takes the mean over the
    queries: a class with twice the queries counts twice, as in the score. All S columns see the same draws, so that
    means of two columns may be subtracted; the same seed and classes give the same draws.
    """
    _, of_query, sizes = np.unique(labels, return_inverse=True, return_counts=True)  # (Q,), (C,)
    classes = len(sizes)
    sums = [np.bincount(of_query, column, minlength=classes) for column in values.T.astype(np.float64)]
    table = np.column_stack([*sums, sizes])  # (C, S + 1)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    at_once = max(1, COUNTS_AT_ONCE // classes)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(0, classes, (rows, classes))  # (r, C)
        drawn += classes * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * classes).reshape(rows, classes)  # (r, C)
        totals = counts.astype(np.float64) @ table  # (r, S + 1)
        means[start : start + rows] = totals[:, :-1] / totals[:, -1:]
    return means


def percentile_interval(means: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the lower and upper ends (S,) of the middle share ``level`` of ``means`` (resamples, S)."""
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper


def two_sided_p(differences: Floats) -> Floats:
    """Return two-sided p-values (S,) of ``differences`` (resamples, S) from zero.

    Twice the share of resamples that fall on zero or on the rarer side of it, ``2 (1 + n) / (1 + resamples)``, at most
    1: below ``1 - level`` about where the percentile interval of that level leaves zero out.
    """
    rarer = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    return np.minimum(1, 2 * (1 + rarer) / (1 + len(differences)))
