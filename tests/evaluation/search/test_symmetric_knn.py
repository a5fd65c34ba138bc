from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.symmetric_knn import symmetric_knn
from metricforge.interfaces import Similarity

COUNT = 23
IMAGES = np.random.default_rng(0).integers(0, 4, (COUNT, 2)).astype(np.float32)  # many ties and duplicates


class Distance(Similarity):
    symmetric = True

    def __init__(self) -> None:
        super().__init__()
        self.pairs = 0

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        self.pairs += len(x) * len(y)
        return -(x[:, None] - y[None]).abs().sum(dim=2)


def _by_loop(k: int) -> list[list[int]]:
    rankings = []
    for one in range(COUNT):
        distance = [int(abs(IMAGES[one] - IMAGES[other]).sum()) for other in range(COUNT)]
        others = [other for other in range(COUNT) if other != one]
        rankings.append(sorted(others, key=lambda other, distance=distance: (distance[other], other))[:k])
    return rankings


@pytest.mark.parametrize("k", [1, 6, COUNT - 1])
@pytest.mark.parametrize("rows", [1, 5, COUNT, 100])
def test_neighbours_are_those_of_a_loop_with_ties_by_index_for_any_block(k, rows):
    told: list[int] = []
    scores = PairwiseScores(None, IMAGES, Distance(), torch.device("cpu"))
    assert symmetric_knn(scores, COUNT, k, rows, told.append).tolist() == _by_loop(k)
    assert sum(told) == COUNT


def test_each_pair_is_scored_once():
    similarity = Distance()
    symmetric_knn(PairwiseScores(None, IMAGES, similarity, torch.device("cpu")), COUNT, 3, 1, lambda count: None)
    assert similarity.pairs == COUNT * (COUNT + 1) // 2
