import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from metricforge.report.pair_sample import sample_pairs

LABELS = np.array([7, 3, 3, 9, 7, 3, 3, 7])  # a class of one among them


def test_pairs_are_drawn_evenly_among_all_of_their_kind():
    for same, pairs in zip((True, False), sample_pairs(LABELS, 20_000), strict=True):
        allowed = {(i, j) for i, j in itertools.permutations(range(8), 2) if (LABELS[i] == LABELS[j]) == same}
        counts = Counter(map(tuple, pairs.tolist()))
        assert set(counts) == allowed
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_a_seed_gives_the_same_pairs_and_another_seed_others():
    one, again, other = (sample_pairs(LABELS, 50, seed) for seed in (1, 1, 2))
    assert (one[0] == again[0]).all()
    assert (one[1] == again[1]).all()
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("labels", [[1, 2, 3], [4, 4], [0]], ids=["no positive", "no negative", "one image"])
def test_labels_without_a_pair_of_each_kind_are_refused(labels):
    with pytest.raises(ValueError, match="positive pairs need a class of two images, negative ones need two classes"):
        sample_pairs(np.array(labels), 5)


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        sample_pairs(LABELS, 0)
