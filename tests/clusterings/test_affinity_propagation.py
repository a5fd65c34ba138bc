from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.cluster import affinity_propagation
from sklearn.metrics import adjusted_rand_score, euclidean_distances

from metricforge.clusterings import AffinityPropagation
from metricforge.clusterings import affinity_propagation as module
from metricforge.testing import check_clustering


def blobs(count: int = 150, groups: int = 9, spread: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, groups, count)
    centres = generator.normal(size=(groups, 5)) * spread
    return (centres[labels] + generator.normal(size=(count, 5))).astype(np.float32), labels


@pytest.mark.parametrize("clustering", [AffinityPropagation(), AffinityPropagation(neighbours=25)])
def test_it_keeps_the_contract(clustering):
    check_clustering(clustering)


@pytest.mark.parametrize("neighbours", [None, 40])
@pytest.mark.parametrize("wanted", [2, 9, 30])
def test_the_preference_is_found_that_gives_the_wanted_number(neighbours, wanted):
    embeddings, labels = blobs()
    if neighbours and wanted == 2:
        neighbours = 149  # a cluster of half of the images needs that reach
    assigned = AffinityPropagation(neighbours).assign(embeddings, wanted, seed=0)
    assert sorted(set(assigned.tolist())) == list(range(wanted))
    if wanted == 9:
        assert adjusted_rand_score(labels, assigned) > 0.9


def test_the_candidates_are_each_image_and_its_nearest_others_even_among_duplicates():
    embeddings = np.concatenate([np.zeros((6, 2)), np.random.default_rng(0).normal(size=(20, 2))]).astype(np.float32)
    candidates, distances = module._nearest_candidates(embeddings, 4)
    exact = ((embeddings[:, None].astype(np.float64) - embeddings[None]) ** 2).sum(axis=2)
    for i in range(26):
        assert candidates[i, 0] == i
        assert len(set(candidates[i].tolist())) == 5
        others = np.sort(np.delete(exact[i], i))[:4]
        np.testing.assert_allclose(np.sort(distances[i, 1:]), others, atol=1e-5)


def test_what_no_try_reaches_is_given_as_nearly_as_it_can():
    embeddings, _ = blobs()
    found = [len(set(AffinityPropagation(tries=tries).assign(embeddings, 40, seed=0))) for tries in (1, 3, 20)]
    misses = [abs(each - 40) for each in found]
    assert misses == sorted(misses, reverse=True)
    assert misses[0] > misses[-1]


def test_duplicates_share_a_cluster():
    embeddings, _ = blobs(60)
    embeddings[30:] = embeddings[:30]
    for clustering in (AffinityPropagation(), AffinityPropagation(neighbours=20)):
        assigned = clustering.assign(embeddings, 6, seed=0)
        assert len(set(assigned.tolist())) == 6
        np.testing.assert_array_equal(assigned[30:], assigned[:30])


@pytest.mark.parametrize("clustering", [AffinityPropagation(), AffinityPropagation(20)])
def test_images_that_are_all_the_same_are_one_cluster(clustering):
    assert clustering.assign(np.ones((30, 3), dtype=np.float32), 4, seed=0).tolist() == [0] * 30


@pytest.mark.parametrize("neighbours", [None, 20])
@pytest.mark.parametrize("wanted", [40, 300])
def test_classes_that_hardly_stand_out_in_many_dimensions_are_clustered_too(neighbours, wanted):
    # all images are about equally far apart, and at preferences well beyond that scikit-learn's messages swing
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(100, 256))[generator.integers(0, 100, 500)] / 3
    embeddings = (embeddings + generator.normal(size=(500, 256))).astype(np.float32)
    found = len(set(AffinityPropagation(neighbours).assign(embeddings, wanted, seed=0).tolist()))
    assert abs(found - wanted) <= 0.05 * wanted


def test_a_number_of_clusters_that_grows_again_beyond_is_a_swing_and_misleads_nobody():
    def cluster(preference):
        found = 100 if preference < -4 else round(20 / -preference)
        return np.arange(100) % found, True

    graph = module._Graph(cluster, shortest=0.5, typical=1.9)
    assert module._search_preference(graph, 6, 20, lambda count: None).max() == 5


def test_of_equally_near_numbers_one_that_settled_is_kept_but_not_one_far_away():
    def found(numbers):
        tries = iter(numbers)

        def cluster(preference):
            count, settled = next(tries)
            return np.arange(500) % count, settled

        graph = module._Graph(cluster, shortest=1.0, typical=2.0)
        return module._search_preference(graph, 100, len(numbers), lambda count: None).max() + 1

    assert found([(102, False), (97, True)]) == 97
    assert found([(110, False), (400, True)]) == 110


def test_more_images_than_fit_in_memory_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 100)
    embeddings, labels = blobs()
    with pytest.raises(ValueError, match=r"at most 100 images, got 150, .* set neighbours"):
        AffinityPropagation().assign(embeddings, 9, seed=0)
    assert adjusted_rand_score(labels, AffinityPropagation(neighbours=50).assign(embeddings, 9, seed=0)) > 0.9


@pytest.mark.parametrize(
    ("argument", "value"),
    [("neighbours", 0), ("tries", 0), ("damping", 0.4), ("damping", 1.0), ("damping", float("nan"))],
)
def test_an_argument_out_of_range_is_refused(argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must be"):
        AffinityPropagation(**{argument: value})


def test_its_protocol_says_who_could_be_an_exemplar():
    assert AffinityPropagation().protocol()["candidates"] == "all images"
    assert AffinityPropagation(30).protocol()["candidates"] == "30 nearest neighbours"


def _sets_with_a_quarter_identical(sets: int):
    for seed in range(sets):
        generator = np.random.default_rng(seed)
        count, clusters, dim = (int(generator.integers(*limits)) for limits in ((60, 160), (3, 25), (2, 32)))
        rows = generator.normal(size=(count, dim))
        if seed % 2:
            rows = 2 * generator.normal(size=(clusters, dim))[generator.integers(0, clusters, count)] + rows / 2
        same = generator.permutation(count)[: count // 4]
        rows[same] = rows[same[0]] if seed % 4 < 2 else rows[generator.integers(0, count, len(same))]
        yield rows.astype(np.float32), clusters


def _nearest_number_of_scikit_learn(rows: np.ndarray, clusters: int) -> int:
    """The number nearest to ``clusters`` that it gives at damping 0.9, of 25 bisected preferences."""
    similarities = -euclidean_distances(rows.astype(np.float64), squared=True)
    low, high = 1e-3, 100 * len(rows) * -similarities.min()
    numbers = []
    for _ in range(25):
        middle = (low * high) ** 0.5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exemplars, _ = affinity_propagation(similarities, preference=-middle, damping=0.9, random_state=0)
        numbers.append(len(exemplars))
        low, high = (middle, high) if len(exemplars) > clusters else (low, middle)
    return min(numbers, key=lambda number: abs(number - clusters))


def _miss_at_most(sets: int) -> None:
    for rows, clusters in _sets_with_a_quarter_identical(sets):
        found = len(np.unique(AffinityPropagation().assign(rows, clusters, seed=0)))
        if abs(found - clusters) > 1:
            theirs = _nearest_number_of_scikit_learn(rows, clusters)
            assert abs(found - clusters) <= max(1, abs(theirs - clusters)), (clusters, found, theirs)


def test_identical_images_do_not_keep_it_from_the_number_of_clusters_that_is_wanted():
    _miss_at_most(12)


@pytest.mark.slow
def test_on_200_sets_with_identical_images_it_comes_as_near_as_scikit_learn_at_damping_09():
    _miss_at_most(200)


@pytest.mark.parametrize("neighbours", [None, 10])
def test_there_are_never_more_clusters_than_different_images(neighbours):
    rows = np.repeat(np.random.default_rng(0).normal(size=(5, 4)), 8, axis=0).astype(np.float32)
    assigned = AffinityPropagation(neighbours=neighbours).assign(rows, 20, seed=0)
    assert len(np.unique(assigned)) <= 5
    assert all(len(np.unique(assigned[8 * one : 8 * one + 8])) == 1 for one in range(5))
