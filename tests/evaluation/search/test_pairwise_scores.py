from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.evaluation.search import pairwise_scores
from metricforge.evaluation.search.pairwise_scores import PairwiseScores, require_finite
from metricforge.interfaces import Similarity

CPU = torch.device("cpu")
GENERATOR = np.random.default_rng(0)
QUERIES, GALLERY = GENERATOR.normal(size=(5, 3)), GENERATOR.normal(size=(11, 3))


class Lopsided(Similarity):
    """Not symmetric: a score is that of the query with the image, not of the image with the query."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, int]] = []

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        self.shapes.append((len(x), len(y)))
        return x[:, None, 0] - 2 * y[None, :, 1]


def _expected(queries: np.ndarray) -> np.ndarray:
    return np.array([[query[0] - 2 * image[1] for image in GALLERY] for query in queries], dtype=np.float32)


@pytest.mark.parametrize("pairs_at_once", [1, 7, 2**14])
def test_a_block_scores_the_same_however_small_its_tiles(monkeypatch, pairs_at_once):
    monkeypatch.setattr(pairwise_scores, "PAIRS_AT_ONCE", pairs_at_once)
    similarity = Lopsided()
    found = PairwiseScores(QUERIES, GALLERY, similarity, CPU).from_column(4, 1, 4)
    torch.testing.assert_close(found, torch.from_numpy(_expected(QUERIES)[1:4, 4:]))
    assert all(rows * columns <= max(pairs_at_once, 3) for rows, columns in similarity.shapes)


def test_rough_scores_are_final_and_of_the_gallery_itself_without_queries():
    scores, slack = PairwiseScores(None, GALLERY, Lopsided(), CPU).rough(2, 5)
    torch.testing.assert_close(scores, torch.from_numpy(_expected(GALLERY)[2:5]))
    assert slack.tolist() == [0, 0, 0]


def test_nothing_decides_where_pairwise_is_undecided():
    source = PairwiseScores(QUERIES, GALLERY, Lopsided(), CPU)
    assert source.exact(torch.tensor([0, 3]), torch.tensor([5, 9])).tolist() == [0, 0]


def test_a_score_that_is_not_finite_is_refused_with_its_queries():
    class Diverged(Similarity):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            return (x @ y.T).fill_diagonal_(torch.nan)

    with pytest.raises(ValueError, match=r"Diverged\.pairwise gave 3 scores that are not finite for queries 1 to 3"):
        PairwiseScores(QUERIES, GALLERY, Diverged(), CPU).rough(1, 4)
    with pytest.raises(ValueError, match="the head gave 1 scores that are not finite for queries 0 to 1"):
        require_finite(torch.tensor([[1.0], [-torch.inf]]), "the head", 0, 2)
    require_finite(torch.tensor([[1.0], [2.0]]), "the head", 0, 2)
