from __future__ import annotations

import pytest
import torch

from metricforge.backbones import IdentityBackbone


def test_features_are_the_vectors_in_float32():
    vectors = torch.randn(5, 9, dtype=torch.float64)
    backbone = IdentityBackbone(9)
    torch.testing.assert_close(backbone(backbone.prepare(vectors)), vectors.float(), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(5, 8), (5, 3, 40, 40), (9,)])
def test_anything_else_is_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match=r"IdentityBackbone expects vectors \(B, 9\)"):
        IdentityBackbone(9)(torch.zeros(shape))


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="feature_dim"):
        IdentityBackbone(0)
