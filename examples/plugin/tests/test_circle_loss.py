from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that this example is tested where it is not installed

from metricforge_circle import CircleLoss

from metricforge.testing import check_loss


def test_it_keeps_the_contract_of_a_loss():
    check_loss(CircleLoss())


def test_it_equals_a_loop_over_anchors():
    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(7, 5, dtype=torch.float64), dim=1)
    labels = [0, 0, 1, 1, 1, 2, 2]
    expected = 0.0
    for i in range(7):
        score = [float(embeddings[i] @ embeddings[k]) for k in range(7)]
        pull = sum(
            math.exp(-8 * max(0, 1.4 - score[k]) * (score[k] - 0.6))
            for k in range(7)
            if k != i and labels[k] == labels[i]
        )
        push = sum(math.exp(8 * max(0, score[k] + 0.4) * (score[k] - 0.4)) for k in range(7) if labels[k] != labels[i])
        expected += math.log(1 + pull * push) / 7
    assert CircleLoss(scale=8)(embeddings, torch.tensor(labels)).total.item() == pytest.approx(expected)


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="scale"):
        CircleLoss(scale=0)
