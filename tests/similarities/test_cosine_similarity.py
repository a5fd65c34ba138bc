from __future__ import annotations

import pytest
import torch

from metricforge import SIMILARITIES
from metricforge.similarities import CosineSimilarity
from metricforge.testing import check_similarity


def test_it_fulfils_the_contract():
    check_similarity(CosineSimilarity())


def test_it_is_the_cosine_of_the_angle_whatever_the_lengths():
    similarity = SIMILARITIES.build(dict(type="CosineSimilarity"))
    x, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 5.0], [0.0, 1.0], [-3.0, 0.0], [0.0, 0.0]])
    assert similarity.pairwise(x, y)[0].tolist() == pytest.approx([0.5**0.5, 0.0, -1.0, 0.0])


def test_the_prepared_rows_have_length_one():
    prepared = CosineSimilarity().prepare(torch.tensor([[3.0, 4.0], [0.0, -9.0]]))
    assert torch.allclose(prepared, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
