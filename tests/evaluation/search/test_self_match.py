from __future__ import annotations

import numpy as np

from metricforge.evaluation.search.self_match import find_self_matches
from metricforge.structures import EmbeddingSet


def images(ids):
    return EmbeddingSet(np.eye(len(ids)), np.zeros(len(ids), dtype=int), np.array(ids))


def test_each_query_is_found_by_its_id_wherever_it_is_in_the_gallery():
    assert find_self_matches(images([7, 1, 9]), images([9, 3, 7])).tolist() == [2, -1, 0]


def test_no_query_beyond_the_largest_id_is_found():
    assert find_self_matches(images([10, -1]), images([4, 2])).tolist() == [-1, -1]
