from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge import HEADS, Head
from metricforge.testing import check_head


class Linear(Head):
    """Small and right; the rest break it."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 4
        self.linear = nn.Linear(16, 4)

    def forward(self, features):
        return self.linear(features)


def test_a_head_that_keeps_the_contract_passes():
    check_head(Linear())


@pytest.mark.parametrize("options", [dict(dim=8, layer_norm=True, dropout=0.2), dict(), dict(l2_normalize=False)])
def test_the_head_of_the_core_passes(options):
    check_head(HEADS.build(dict(type="EmbeddingHead", feature_dim=16, **options)))


class SaysNoDim(Linear):
    def __init__(self) -> None:
        super().__init__()
        del self.dim


class SaysAnotherDim(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.dim = 5


class LooksAtOthers(Linear):
    def forward(self, features):
        return self.linear(features - features.mean(dim=0))


class IsRandom(Linear):
    def forward(self, features):
        return self.linear(features) + torch.rand(4)


class HasAnIdleLayer(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)


class DividesByZero(Linear):
    def forward(self, features):
        return self.linear(features / features.norm(dim=1, keepdim=True))


class ChangesFeatures(Linear):
    def forward(self, features):
        return self.linear(features) if features.requires_grad else self.linear(features.mul_(2))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (SaysNoDim, "dim must be an int above 0, got None"),
        (SaysAnotherDim, r"shape \(6, 4\), not \(6, 5\)"),
        (LooksAtOthers, "an embedding depends on its own features alone"),
        (IsRandom, "the same features give the same embeddings"),
        (HasAnIdleLayer, "idle.weight got none"),
        (DividesByZero, r"a row of zeros\): some are not finite"),
        (ChangesFeatures, "the features were changed in place"),
    ],
)
def test_a_broken_head_is_caught_and_the_clause_is_named(head, said):
    with pytest.raises(AssertionError, match=rf"^{head.__name__}: .*{said}"):
        check_head(head())
