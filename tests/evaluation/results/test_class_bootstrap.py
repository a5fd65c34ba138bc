from __future__ import annotations

import math

import numpy as np
import pytest

from metricforge.evaluation.results import class_bootstrap
from metricforge.evaluation.results.class_bootstrap import percentile_interval, resampled_means, two_sided_p


def test_means_are_those_of_a_loop_over_the_same_draws_query_by_query():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 7, 60) * 3 + 10  # classes of different size, with gaps between their labels
    values = generator.random((60, 2))
    found = resampled_means(values, labels, resamples=50, seed=4)
    classes = sorted(set(labels.tolist()))
    draws = np.random.default_rng(4).integers(0, len(classes), (50, len(classes)))
    for row, draw in zip(found, draws, strict=True):
        drawn = [query for one in draw for query in range(60) if labels[query] == classes[one]]
        for column in (0, 1):
            assert row[column] == pytest.approx(math.fsum(values[q, column] for q in drawn) / len(drawn), abs=1e-12)


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    generator = np.random.default_rng(1)
    values, labels = generator.random((40, 1)), np.arange(40) % 9
    whole = resampled_means(values, labels, 101, seed=0)
    monkeypatch.setattr(class_bootstrap, "COUNTS_AT_ONCE", 30)  # three resamples
    assert (resampled_means(values, labels, 101, seed=0) == whole).all()


def test_classes_are_drawn_not_queries():
    values, labels = np.repeat([[0.0], [1.0]], 500, axis=0), np.repeat([0, 1], 500)
    found = resampled_means(values, labels, 2000, seed=0)
    assert set(found.ravel().tolist()) == {0.0, 0.5, 1.0}  # a thousand queries, yet two classes
    assert (found == 0.5).mean() == pytest.approx(0.5, abs=0.05)


def test_bools_count_as_0_and_1_and_another_seed_draws_others():
    labels = np.arange(30) % 10
    bools = (np.arange(30) < 13)[:, None]
    found = resampled_means(bools, labels, 200, seed=0)
    assert (found == resampled_means(bools.astype(float), labels, 200, seed=0)).all()
    assert (found != resampled_means(bools, labels, 200, seed=1)).any()


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    labels, covered = np.repeat(np.arange(60), 5), 0
    for trial in range(200):
        values = np.repeat(generator.normal(size=60), 5)[:, None]  # truth 0; queries of a class agree
        lower, upper = percentile_interval(resampled_means(values, labels, 400, seed=trial), 0.9)
        covered += lower[0] <= 0 <= upper[0]
    assert covered / 200 == pytest.approx(0.9, abs=0.06)


def test_an_interval_leaves_out_the_same_share_at_both_ends():
    means = np.arange(101.0)[:, None]
    lower, upper = percentile_interval(means, 0.9)
    assert (lower[0], upper[0]) == (pytest.approx(5), pytest.approx(95))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 2.0, 3.0, -1.0, 5.0, 1.0, 1.0, 1.0, 1.0], 2 * (1 + 1) / 10),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 2 / 10),
        ([0.0] * 9, 1.0),
        ([1.0, -1.0] * 4 + [0.0], 1.0),
        ([-1.0] * 8 + [0.0], 2 * (1 + 1) / 10),
    ],
)
def test_p_is_twice_the_rarer_side_with_zero_on_both(differences, p):
    assert two_sided_p(np.array(differences)[:, None])[0] == pytest.approx(p)
