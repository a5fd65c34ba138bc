from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.evaluation.search.integer_scores import HammingScores, PairwiseIntegerScores
from metricforge.interfaces import Similarity
from metricforge.similarities import HammingSimilarity

CPU = torch.device("cpu")
GENERATOR = np.random.default_rng(0)
QUERIES, GALLERY = GENERATOR.normal(size=(6, 8)), GENERATOR.normal(size=(40, 8))  # 9 distances: many ties


class RoundedDistance(Similarity):
    """A similarity that only ``pairwise`` knows, with ties."""

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -torch.cdist(x, y).round()


def _order(distances: np.ndarray) -> list[list[int]]:
    """Gallery indices from the smallest distance on, ties by index."""
    return [sorted(range(len(row)), key=lambda index, row=row: (row[index], index)) for row in distances.tolist()]


@pytest.mark.parametrize("searches_itself", [True, False])
@pytest.mark.parametrize("into_a_buffer", [True, False])
def test_hamming_scores_rank_by_unlike_bits_then_by_index_and_never_tie(searches_itself, into_a_buffer):
    queries = GALLERY if searches_itself else QUERIES
    source = HammingScores(None if searches_itself else QUERIES, GALLERY, HammingSimilarity(), CPU)
    out = torch.empty(len(queries), len(GALLERY), dtype=torch.int32) if into_a_buffer else None
    found = source.rows(torch.arange(len(queries)), out=out)
    unlike = ((queries[:, None] > 0) != (GALLERY[None] > 0)).sum(axis=2)
    assert found.argsort(dim=1, descending=True).tolist() == _order(unlike)
    assert all(len(set(row)) == len(GALLERY) for row in found.tolist())


def test_hamming_scores_of_chosen_queries_are_their_rows_of_all():
    source = HammingScores(QUERIES, GALLERY, HammingSimilarity(), CPU)
    chosen = torch.tensor([4, 1, 1])
    assert torch.equal(source.rows(chosen), source.rows(torch.arange(6))[chosen])


def test_scores_of_pairwise_rank_as_it_does_with_ties_by_index():
    source = PairwiseIntegerScores(QUERIES, GALLERY, RoundedDistance(), CPU)
    found = source.rows(torch.arange(2, 6))
    distances = np.linalg.norm((QUERIES[2:, None] - GALLERY[None]).astype(np.float64), axis=2).round()
    assert not found.is_floating_point()
    assert found.argsort(dim=1, descending=True).tolist() == _order(distances)
    assert all(len(set(row)) == len(GALLERY) for row in found.tolist())
