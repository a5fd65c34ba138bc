from __future__ import annotations

import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import CMC
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_evaluator


def test_cmc_is_the_share_of_queries_whose_first_right_image_is_at_rank_k_or_before(hard_set, rankings_of_hard_set):
    ks = [k for k in (1, 5, 10) if k < len(hard_set)]
    firsts = [row.index(True) + 1 for row in rankings_of_hard_set]
    expected = {f"cmc@{k}": sum(first <= k for first in firsts) / len(firsts) for k in ks}
    assert CMC(ks).evaluate(EvaluationContext(hard_set, EuclideanSimilarity())) == pytest.approx(expected, abs=1e-12)


def test_it_keeps_the_contract_and_says_which_gallery_it_means():
    check_evaluator(CMC())
    assert CMC((1, 5)).protocol() == {"ks": [1, 5], "gallery": "multi-shot: every image"}


def test_a_k_beyond_the_gallery_names_cmc(overlapping_sets):
    queries, gallery = overlapping_sets
    with pytest.raises(ValueError, match=r"ks of CMC must be at most 29.*leave out \[30\]"):
        CMC((1, 30)).evaluate(EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True))
