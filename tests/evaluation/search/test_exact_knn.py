from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metricforge.evaluation import exact_knn
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity


class ToyHead(Similarity):
    """A learned similarity that no index knows: -|W (x - y)|_1 by a random W."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, 3, generator=torch.Generator().manual_seed(seed)))

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -((x[:, None] - y[None]) @ self.weight).abs().sum(dim=2)


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_euclidean_neighbours_equal_a_brute_force_ranking(hard_set, brute_force, k):
    k = min(k, len(hard_set) - 1)
    expected = [row[:k] for row in brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)]
    assert exact_knn(None, hard_set.embeddings, EuclideanSimilarity(), k).tolist() == expected


def test_cosines_fall_along_every_ranking_and_equal_images_come_in_order(hard_set):
    embeddings = hard_set.embeddings
    unit = (embeddings / np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    k = len(embeddings) - 1
    found = exact_knn(None, embeddings, CosineSimilarity(), k)
    cosines = unit.astype(np.float64) @ unit.astype(np.float64).T
    for query, row in enumerate(found):
        assert sorted([*row, query]) == list(range(len(embeddings)))
        assert (np.diff(cosines[query, row]) <= 1e-6).all()
        for first, second in itertools.pairwise(row):
            if (embeddings[first] == embeddings[second]).all():
                assert first < second


def test_random_cosine_neighbours_equal_a_brute_force_ranking_with_a_gallery(brute_force):
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(20, 6)).astype(np.float32)
    gallery = generator.normal(size=(50, 6)).astype(np.float32)
    expected = [row[:12] for row in brute_force("cosine", queries, gallery, False)]
    assert exact_knn(queries, gallery, CosineSimilarity(), 12).tolist() == expected


def test_a_query_in_the_gallery_finds_itself_there():
    images = np.eye(4, dtype=np.float32)
    assert exact_knn(images, images, EuclideanSimilarity(), 1)[:, 0].tolist() == [0, 1, 2, 3]


def test_the_query_is_left_out_even_where_duplicates_stand_before_it():
    images = np.ones((4, 2), dtype=np.float32)
    expected = [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    for similarity in (EuclideanSimilarity(), CosineSimilarity(), ToyHead(2)):
        assert exact_knn(None, images, similarity, 3).tolist() == expected


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), CosineSimilarity()])
@pytest.mark.parametrize("scores_at_once", [1, 1000, 7001])
def test_the_result_does_not_depend_on_the_block_size(similarity, scores_at_once):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(300, 33)).astype(np.float32)
    images[generator.permutation(300)[:200]] = images[generator.integers(0, 20, 200)]
    in_one = exact_knn(None, images, similarity, 40)
    assert (exact_knn(None, images, similarity, 40, scores_at_once=scores_at_once) == in_one).all()


def test_a_ranking_finer_than_float32_products_can_tell_is_exact(brute_force):
    generator = np.random.default_rng(0)
    images = (1000 + generator.normal(size=(80, 16)) * 1e-3).astype(np.float32)
    far = np.concatenate([images, np.full((1, 16), -5000, dtype=np.float32)])  # so that moving the origin does not help
    naive = torch.cdist(torch.from_numpy(far), torch.from_numpy(far), compute_mode="use_mm_for_euclid_dist")
    expected = brute_force("euclidean", far, far, True)
    assert naive.fill_diagonal_(torch.inf).argsort(dim=1)[:, :10].tolist() != [row[:10] for row in expected]
    assert exact_knn(None, far, EuclideanSimilarity(), 10).tolist() == [row[:10] for row in expected]


def test_lowered_matmul_precision_and_autocast_change_nothing_and_stay_set():
    images = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    expected = exact_knn(None, images, CosineSimilarity(), 20)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = exact_knn(None, images, CosineSimilarity(), 20)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert (found == expected).all()


def test_half_precision_embeddings_are_searched_as_the_float32_they_stand_for():
    images = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float16)
    found = exact_knn(None, images, EuclideanSimilarity(), 9)
    assert (found == exact_knn(None, images.astype(np.float32), EuclideanSimilarity(), 9)).all()


def test_a_learned_similarity_is_searched_as_its_pairwise_scores_say():
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(140, 5)).astype(np.float32)
    gallery = generator.normal(size=(333, 5)).astype(np.float32)
    head = ToyHead(5)
    weight = head.weight.detach().double().numpy()
    found = exact_knn(queries, gallery, head, 6)
    for query, row in zip(queries.astype(np.float64), found, strict=True):
        scores = [-np.abs((query - image) @ weight).sum() for image in gallery.astype(np.float64)]
        assert row.tolist() == sorted(range(333), key=lambda g, scores=scores: (-scores[g], g))[:6]


def test_ties_of_a_learned_similarity_go_to_the_smaller_index():
    class Constant(ToyHead):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.zeros(len(x), len(y))

    found = exact_knn(None, np.ones((100, 2), dtype=np.float32), Constant(2), 5)
    assert found[0].tolist() == [1, 2, 3, 4, 5]
    assert found[3].tolist() == [0, 1, 2, 4, 5]
    assert found[99].tolist() == [0, 1, 2, 3, 4]


def test_a_learned_similarity_that_gives_nan_is_an_error_that_names_it():
    class Diverged(ToyHead):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.full((len(x), len(y)), torch.nan)

    with pytest.raises(ValueError, match=r"Diverged\.pairwise gave 9 scores that are not finite"):
        exact_knn(None, np.ones((3, 2), dtype=np.float32), Diverged(2), 1)


@pytest.mark.parametrize(("queries", "k", "allowed"), [(None, 4, 3), (np.ones((2, 2)), 5, 4), (None, 0, 3)])
def test_k_beyond_the_gallery_is_an_error_that_says_how_many_there_are(queries, k, allowed):
    with pytest.raises(ValueError, match=rf"k \({k}\) must be in 1\.\.{allowed}: the gallery has 4 images"):
        exact_knn(queries, np.ones((4, 2)), EuclideanSimilarity(), k)


def test_embeddings_whose_products_overflow_are_an_error():
    with pytest.raises(ValueError, match="too long to be searched in float32"):
        exact_knn(None, np.array([[1e25], [-1e25], [0.0]]), EuclideanSimilarity(), 1)


class SymmetricToyHead(ToyHead):
    symmetric = True


class Levels(Similarity):
    """A symmetric similarity of few values, -0 among them, so that nearly everything ties."""

    def __init__(self, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric  # type: ignore[misc]

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        levels = (x[:, None] + y[None]).sum(dim=2).sign()  # -1, 0, 1
        return levels * -1.0


@pytest.mark.parametrize("scores_at_once", [1, 350, 2000, 2**24])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_computing_each_pair_once_finds_what_computing_all_finds(hard_set, scores_at_once, k):
    embeddings = hard_set.embeddings
    k = min(k, len(embeddings) - 1)
    dim = embeddings.shape[1]
    plain = exact_knn(None, embeddings, ToyHead(dim), k)
    once = exact_knn(None, embeddings, SymmetricToyHead(dim), k, scores_at_once=scores_at_once)
    assert (once == plain).all()
    tied = exact_knn(None, embeddings, Levels(False), k)
    assert (exact_knn(None, embeddings, Levels(True), k, scores_at_once=scores_at_once) == tied).all()


def test_a_symmetric_search_equals_sorting_float64_scores_with_ties_by_index():
    generator = np.random.default_rng(0)
    images = generator.integers(-2, 3, (90, 2)).astype(np.float32)
    scores = -np.sign((images[:, None] + images[None]).astype(np.float64).sum(axis=2))
    found = exact_knn(None, images, Levels(True), 89, scores_at_once=1000)
    for query, row in enumerate(found):
        others = [other for other in range(90) if other != query]
        assert row.tolist() == sorted(others, key=lambda other, query=query: (-scores[query, other], other))


def test_a_symmetric_search_asks_for_each_pair_about_once():
    asked = []

    class Counting(SymmetricToyHead):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            asked.append(len(x) * len(y))
            return super().pairwise(x, y)

    exact_knn(None, np.random.default_rng(0).normal(size=(200, 4)), Counting(4), 5, scores_at_once=2000)
    assert 200 * 201 / 2 <= sum(asked) < 0.55 * 200**2


def test_a_symmetric_search_names_a_similarity_that_gives_nan():
    class Diverged(SymmetricToyHead):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.full((len(x), len(y)), torch.nan)

    with pytest.raises(ValueError, match=r"Diverged\.pairwise gave 9 scores that are not finite"):
        exact_knn(None, np.ones((3, 2), dtype=np.float32), Diverged(2), 1)


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), ToyHead(4), SymmetricToyHead(4)])
def test_progress_counts_every_query_once(similarity):
    images, finished = np.random.default_rng(0).normal(size=(150, 4)), []
    exact_knn(None, images, similarity, 3, scores_at_once=3000, on_queries=finished.append)
    assert sum(finished) == 150
    assert len(finished) > 1
