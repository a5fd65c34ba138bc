from __future__ import annotations

import numpy as np
import pytest

from metricforge.clusterings import KMeans
from metricforge.testing import check_clustering


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 12, 400)
    return (generator.normal(size=(12, 6))[labels] * 2 + generator.normal(size=(400, 6))).astype(np.float32), labels


def inertia(embeddings: np.ndarray, assigned: np.ndarray) -> float:
    return sum(
        float(((embeddings[assigned == c] - embeddings[assigned == c].mean(axis=0)) ** 2).sum())
        for c in np.unique(assigned)
    )


@pytest.mark.parametrize("clustering", [KMeans(), KMeans(starts=3), KMeans(spherical=True)])
def test_it_keeps_the_contract(clustering):
    check_clustering(clustering)


def test_every_image_is_in_the_cluster_of_its_nearest_mean_once_it_has_settled():
    embeddings, _ = blobs()
    assigned = KMeans(iterations=200).assign(embeddings, 12, seed=0)
    means = np.stack([embeddings[assigned == c].mean(axis=0) for c in range(12)])
    nearest = ((embeddings[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == assigned).mean() > 0.99


def test_more_starts_find_clusters_at_least_as_tight():
    embeddings, _ = blobs()
    one, many = (inertia(embeddings, KMeans(starts=starts).assign(embeddings, 12, seed=0)) for starts in (1, 10))
    assert many <= one


def test_spherical_clusters_do_not_depend_on_lengths():
    embeddings, _ = blobs()
    lengths = np.random.default_rng(1).uniform(0.1, 10, (400, 1)).astype(np.float32)
    same = KMeans(spherical=True).assign(embeddings, 12, seed=0)
    np.testing.assert_array_equal(KMeans(spherical=True).assign(embeddings * lengths, 12, seed=0), same)
    assert (KMeans().assign(embeddings * lengths, 12, seed=0) != KMeans().assign(embeddings, 12, seed=0)).any()


@pytest.mark.parametrize(("argument", "value"), [("iterations", 0), ("starts", 0)])
def test_a_number_below_1_is_refused(argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must be"):
        KMeans(**{argument: value})


def test_its_protocol_names_how():
    protocol = KMeans(starts=4, spherical=True).protocol()
    assert protocol == {"method": "k-means", "iterations": 20, "starts": 4, "spherical": True}


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 1e38])
def test_numbers_whose_squares_float32_does_not_hold_are_clustered_alike(scale, spherical):
    generator = np.random.default_rng(0)
    groups = np.arange(60) % 3
    rows = (generator.uniform(-0.1, 0.1, (60, 4)) + np.eye(3, 4)[groups]).astype(np.float32)
    power = np.float32(2.0 ** np.round(np.log2(scale)))
    expected = KMeans(spherical=spherical, starts=3).assign(rows, 3, seed=0)
    found = KMeans(spherical=spherical, starts=3).assign(rows * power, 3, seed=0)
    assert len({(one, other) for one, other in zip(found, expected, strict=True)}) == 3
