from __future__ import annotations

import pytest
import torch

from metricforge.errors import ConfigError
from metricforge.registry import SIMILARITIES
from metricforge.similarities import HammingSimilarity
from metricforge.testing import check_similarity


def test_the_contract_holds():
    check_similarity(HammingSimilarity())


def test_a_hand_worked_pair():
    x, y = torch.tensor([[0.1, -2.0, 3.0, 0.0]]), torch.tensor([[5.0, 1.0, -1.0, -1.0], [9.0, -9.0, 9.0, -9.0]])
    assert HammingSimilarity().pairwise(x, y).tolist() == [[-2.0, 0.0]]


def test_a_size_that_fills_no_bytes_is_found_when_the_model_is_built():
    with pytest.raises(ConfigError, match=r"model.similarity: dim \(50\) must be a multiple of 8.*48 or 56"):
        SIMILARITIES.build(dict(type="HammingSimilarity"), path="model.similarity", dim=50)
