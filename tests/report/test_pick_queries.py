from __future__ import annotations

import numpy as np
import pytest

from metricforge.errors import MetricForgeError
from metricforge.evaluation import EvaluationContext
from metricforge.report.pick_queries import pick_queries, queries_of_ids
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def experiment(values: list[float], labels: list[int]) -> EvaluationContext:
    return EvaluationContext(EmbeddingSet(np.array(values)[:, None], np.array(labels)), EuclideanSimilarity())


# By nearest other: 0, 1, 2, 3 succeed, 4 and 5 fail, 6 and 7 fail, 8 has no match.
MIXED = experiment([0, 0.1, 10, 10.1, 20, 40, 20.1, 40.1, 60], [0, 0, 1, 1, 2, 2, 3, 3, 4])


def test_half_are_successes_and_half_failures_with_successes_first():
    for seed in range(5):
        picked = pick_queries(MIXED, 4, seed=seed)
        assert len(set(picked)) == 4
        assert set(picked[:2]) <= {0, 1, 2, 3}
        assert set(picked[2:]) <= {4, 5, 6, 7}


def test_the_same_seed_picks_the_same_and_another_seed_others():
    assert pick_queries(MIXED, 4, seed=1) == pick_queries(MIXED, 4, seed=1)
    assert len({tuple(pick_queries(MIXED, 4, seed=seed)) for seed in range(10)}) > 1


def test_too_few_of_one_kind_are_filled_up_by_the_other():
    assert sorted(pick_queries(MIXED, 8)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sorted(pick_queries(experiment([0, 0.1, 5, 5.1], [0, 0, 1, 1]), 4)) == [0, 1, 2, 3]
    assert len(set(pick_queries(experiment([0, 5, 0.1, 5.1], [0, 0, 1, 1]), 3))) == 3


@pytest.mark.parametrize("count", [0, 9])
def test_more_than_the_queries_with_a_match_is_refused(count):
    with pytest.raises(ValueError, match=rf"count \({count}\) must be in 1\.\.8"):
        pick_queries(MIXED, count)


def test_successes_or_failures_alone():
    for seed in range(5):
        assert set(pick_queries(MIXED, 3, seed, "successes")) < {0, 1, 2, 3}
        assert set(pick_queries(MIXED, 3, seed, "failures")) < {4, 5, 6, 7}
    assert sorted(pick_queries(MIXED, 8, kind="failures")) == [4, 5, 6, 7], "all that there are"
    with pytest.raises(MetricForgeError, match="there are no failures among the 4 queries; draw successes"):
        pick_queries(experiment([0, 0.1, 9, 9.1], [0, 0, 1, 1]), 2, kind="failures")
    with pytest.raises(ValueError, match="kind must be one of mixed, successes, failures"):
        pick_queries(MIXED, 2, kind="success")


def test_queries_are_found_by_the_id_of_their_image():
    points = EmbeddingSet(np.arange(4.0)[:, None], np.array([0, 0, 1, 1]), ids=np.array([7, 3, 12, 5]))
    context = EvaluationContext(points, EuclideanSimilarity())
    assert queries_of_ids(context, [5, 7]) == [3, 0]
    with pytest.raises(MetricForgeError, match=r"no query has the id 4, 8; ids are in 3\.\.12"):
        queries_of_ids(context, [3, 4, 8])
