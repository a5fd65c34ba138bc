import pytest
import torch

from metricforge.errors import ConfigError
from metricforge.heads import EmbeddingHead, FeatureAndHead
from metricforge.registry import HEADS
from metricforge.testing import check_head


def test_its_cosine_similarity_is_the_mean_of_those_of_feature_and_embedding():
    torch.manual_seed(0)
    inner = EmbeddingHead(6, 3, layer_norm=True, l2_normalize=False).double()
    features = torch.randn(5, 6, dtype=torch.float64)
    rows = FeatureAndHead(6, inner)(features)
    assert rows.shape == (5, 9)
    cosine = [
        torch.nn.functional.cosine_similarity(part[:, None], part[None], dim=2) for part in (features, inner(features))
    ]
    assert torch.allclose(rows @ rows.T, (cosine[0] + cosine[1]) / 2)


def test_the_inner_head_is_built_of_its_config_and_faults_name_their_place():
    head = HEADS.build(dict(type="FeatureAndHead", head=dict(type="EmbeddingHead", dim=4)), feature_dim=8)
    assert head.dim == 12
    with pytest.raises(ConfigError, match=r"model.head.head.dimm"):
        HEADS.build(
            dict(type="FeatureAndHead", head=dict(type="EmbeddingHead", dimm=4)), path="model.head", feature_dim=8
        )


def test_a_row_of_zeros_stays_zero():
    rows = FeatureAndHead(6, EmbeddingHead(6, 3))(torch.zeros(2, 6))
    assert torch.equal(rows, torch.zeros(2, 9))


def test_it_keeps_the_contract_of_heads():
    check_head(FeatureAndHead(16, EmbeddingHead(16, 4)))
