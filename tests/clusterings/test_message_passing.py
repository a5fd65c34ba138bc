from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import affinity_propagation
from sklearn.metrics import euclidean_distances

from metricforge.clusterings.message_passing import find_exemplars


def _blobs(count: int = 80) -> np.ndarray:
    generator = np.random.default_rng(3)
    return 4 * generator.normal(size=(9, 5))[generator.integers(0, 9, count)] + generator.normal(size=(count, 5))


def _itself_first(count: int) -> np.ndarray:
    return np.array([[one, *(other for other in range(count) if other != one)] for one in range(count)])


def _middles(similarities: np.ndarray, exemplars: np.ndarray) -> set[int]:
    """The member of each exemplar's cluster that is most similar to the others."""
    nearest = similarities[:, exemplars].argmax(axis=1)
    nearest[exemplars] = np.arange(len(exemplars))
    clusters = [np.flatnonzero(nearest == one) for one in range(len(exemplars))]
    return {int(cluster[similarities[np.ix_(cluster, cluster)].sum(axis=0).argmax()]) for cluster in clusters}


@pytest.mark.parametrize("preference", [-2.0, -20.0, -150.0, -2000.0])
def test_messages_among_all_images_find_scikit_learn_s_exemplars(preference):
    similarities = -euclidean_distances(_blobs(), squared=True)
    # of two that are each other's only candidate either may be the exemplar, unless one is a little nearer
    similarities *= 1 + 1e-6 * np.random.default_rng(1).normal(size=similarities.shape)
    np.fill_diagonal(similarities, preference)
    centres, _ = affinity_propagation(similarities, preference=preference, damping=0.7, random_state=0)
    candidates = _itself_first(len(similarities))
    exemplars, settled = find_exemplars(np.take_along_axis(similarities, candidates, 1), candidates, 0.7, 200, 15, 0)
    assert settled
    # scikit-learn moves each exemplar to the middle of its cluster afterwards
    assert _middles(similarities, np.flatnonzero(exemplars)) == set(centres.tolist())


def test_a_hand_worked_pair_of_groups_has_their_middles_as_exemplars():
    points = np.array([0.0, 1.0, 2.1, 50.0, 51.0, 52.1])
    similarities = -((points[:, None] - points) ** 2)
    candidates = _itself_first(6)
    own = np.take_along_axis(similarities, candidates, axis=1)
    own[:, 0] = -10.0
    exemplars, settled = find_exemplars(own, candidates, 0.5, 200, 15, seed=0)
    assert settled
    assert np.flatnonzero(exemplars).tolist() == [1, 4]


def test_an_image_outside_the_candidates_of_all_others_is_its_own_exemplar():
    points = np.array([0.0, 1.0, 2.1, 9.0])
    candidates = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 1, 2]])
    similarities = -((points[:, None] - points[candidates]) ** 2)
    similarities[:, 0] = -3.0  # cheaper than joining a group at distance 7
    exemplars, settled = find_exemplars(similarities, candidates, 0.5, 200, 15, seed=0)
    assert settled
    assert np.flatnonzero(exemplars).tolist() == [1, 3]


def test_messages_that_are_cut_off_say_that_they_have_not_settled_and_change_nothing_given():
    points = np.random.default_rng(0).normal(size=20)
    candidates = _itself_first(20)
    similarities = -((points[:, None] - points[candidates]) ** 2)
    similarities[:, 0] = -0.5
    before = similarities.copy()
    _, settled = find_exemplars(similarities, candidates, 0.9, 10, 15, seed=0)
    assert not settled
    assert np.array_equal(similarities, before)
    first, second = (find_exemplars(similarities, candidates, 0.9, 200, 15, seed=4)[0] for _ in range(2))
    assert np.array_equal(first, second)
