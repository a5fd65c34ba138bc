from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from metricforge.evaluators import class_means
from metricforge.evaluators.class_means import sums_of_classes, vectors_to_average
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity

CPU = torch.device("cpu")
GENERATOR = np.random.default_rng(0)
EMBEDDINGS, CLASS_OF = GENERATOR.normal(size=(50, 8)), GENERATOR.integers(0, 5, 50)


class Weighted(Similarity):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def pairwise(self, x, y):
        return self.scale * x @ y.T


def test_vectors_are_unit_for_cosine_signs_for_hamming_and_as_they_are_for_distances():
    rows = np.array([[3.0, 4.0, 0, 0, 0, 0, 0, -0.0]])
    cosine, hamming, euclidean = (
        vectors_to_average(rows, similarity, CPU)
        for similarity in (CosineSimilarity(), HammingSimilarity(), EuclideanSimilarity())
    )
    assert cosine[0].tolist() == pytest.approx([0.6, 0.8, 0, 0, 0, 0, 0, 0], abs=1e-15)
    assert hamming[0].tolist() == [1, 1, -1, -1, -1, -1, -1, -1]
    assert euclidean[0].tolist() == rows[0].tolist()
    assert {vectors.dtype for vectors in (cosine, hamming, euclidean)} == {torch.float64}


def test_a_similarity_with_weights_takes_float32():
    assert vectors_to_average(EMBEDDINGS, Weighted(), CPU).dtype == torch.float32


@pytest.mark.parametrize("rows_at_once", [1, 7, 8192])
@pytest.mark.parametrize("similarity", [CosineSimilarity(), HammingSimilarity(), EuclideanSimilarity()])
def test_sums_are_those_of_a_loop_over_images_in_blocks_of_any_size(monkeypatch, similarity, rows_at_once):
    monkeypatch.setattr(class_means, "ROWS_AT_ONCE", rows_at_once)
    expected = np.zeros((6, 8))  # a class without an image sums to 0
    for row, label in zip(EMBEDDINGS, CLASS_OF, strict=True):
        if isinstance(similarity, CosineSimilarity):
            row = row / np.sqrt((row**2).sum())
        elif isinstance(similarity, HammingSimilarity):
            row = np.where(row > 0, 1.0, -1.0)
        expected[label] += row
    found = sums_of_classes(EMBEDDINGS, CLASS_OF, 6, similarity, CPU)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
