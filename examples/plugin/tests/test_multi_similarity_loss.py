from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that this example is tested where it is not installed

from metricforge_multisimilarity import MultiSimilarityLoss

from metricforge.testing import check_loss


def test_it_keeps_the_contract_of_a_loss():
    check_loss(MultiSimilarityLoss())


def test_it_equals_a_loop_over_anchors():
    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(7, 5, dtype=torch.float64), dim=1)
    labels = [0, 0, 1, 1, 1, 2, 2]
    expected = 0.0
    for i in range(7):
        score = [float(embeddings[i] @ embeddings[k]) for k in range(7)]
        pull = sum(math.exp(-2 * (score[k] - 0.5)) for k in range(7) if k != i and labels[k] == labels[i])
        push = sum(math.exp(50 * (score[k] - 0.5)) for k in range(7) if labels[k] != labels[i])
        expected += (math.log(1 + pull) / 2 + math.log(1 + push) / 50) / 7
    assert MultiSimilarityLoss()(embeddings, torch.tensor(labels)).total.item() == pytest.approx(expected)


def test_a_weight_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="beta"):
        MultiSimilarityLoss(beta=0)
