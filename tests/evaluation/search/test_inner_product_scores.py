from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity

CPU = torch.device("cpu")


def _exact(similarity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inner products, or minus half the squared distances, in float64."""
    x, y = (similarity.prepare(torch.from_numpy(rows).double()).numpy() for rows in (x, y))
    if similarity.search == "ip":
        return x @ y.T
    return -((x[:, None] - y[None]) ** 2).sum(axis=2) / 2


def _assert_bfloat16_bound_holds(similarity, embeddings: np.ndarray) -> torch.Tensor:
    count = len(embeddings)
    source = InnerProductScores(None, embeddings, similarity, CPU)
    rows, error = source.bfloat16_queries(torch.arange(count))
    unrounded = rows.float() @ source.bfloat16_images.float().T
    off = (unrounded.double() - torch.from_numpy(_exact(similarity, embeddings, embeddings))).abs()
    assert (off <= error[:, None]).all()
    return off.amax(dim=1) / error


def test_no_bfloat16_score_is_further_off_than_its_bound():
    generator = np.random.default_rng(0)
    for similarity in (EuclideanSimilarity(), CosineSimilarity()):
        for scale in (1e-3, 1, 1e4):
            _assert_bfloat16_bound_holds(similarity, (scale * (generator.normal(size=(300, 96)) + 0.3)).astype("f4"))


def test_the_bfloat16_bound_holds_where_rounding_takes_as_much_as_it_can_from_parallel_vectors():
    # Every number is just below the middle of two of bfloat16, so that rounding shortens both vectors of a product by
    # all that the bound allows: half of it would not do.
    row = np.full(16, 1 + 2**-8 - 2**-16, dtype=np.float32)
    tightness = _assert_bfloat16_bound_holds(EuclideanSimilarity(), np.stack([row, -row]))
    assert (tightness > 0.95).all()


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), CosineSimilarity()])
def test_single_double_and_exact_scores_are_those_of_float64_within_their_bounds(similarity):
    generator = np.random.default_rng(1)
    queries, gallery = generator.normal(size=(2, 40, 12)).astype(np.float32)
    source = InnerProductScores(queries, gallery, similarity, CPU)
    every = torch.arange(40)
    expected = torch.from_numpy(_exact(similarity, queries, gallery))
    ranked_alike = expected - expected[:, :1]  # a query's scores may all be moved by the same
    single, single_error = source.single(every)
    assert ((single - single[:, :1] - ranked_alike).abs() <= 2 * single_error[:, None]).all()
    double, _ = source.double(every)
    torch.testing.assert_close(double - double[:, :1], ranked_alike, rtol=0, atol=1e-12)
    exact = source.exact(every.repeat_interleave(40), every.repeat(40)).view(40, 40)
    length = 1 if similarity.search == "ip" else 0
    torch.testing.assert_close(exact, 2 * (expected - length), rtol=1e-12, atol=1e-12)  # minus the squared distance
    pairs = source.single_pairs(every, every.flip(0))
    torch.testing.assert_close(pairs.double(), expected[every, every.flip(0)], rtol=1e-5, atol=1e-5)


def test_columns_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="too long to be searched in float32"):
        InnerProductScores(None, np.array([[1e25], [-1e25]], dtype=np.float32), EuclideanSimilarity(), CPU)
