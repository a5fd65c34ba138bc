"""Poolings against their formulas, in every place that timm's networks pool."""

from __future__ import annotations

import pytest
import timm
import torch

from metricforge.backbones import TimmBackbone
from metricforge.backbones.pooling import GeneralizedMeanPool

NETWORKS = ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224"]


def pictures(name, count=2):
    side = timm.get_pretrained_cfg(name).input_size[-1]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("p", [1.0, 2.5, 3.0, 8.0])
def test_a_generalised_mean_is_the_mean_of_powers(p):
    tokens = torch.rand(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pool = GeneralizedMeanPool(p=p)
    expected = torch.stack(
        [torch.stack([sum(x[t, f] ** p for t in range(5)) / 5 for f in range(4)]) ** (1 / p) for x in tokens]
    )
    torch.testing.assert_close(pool(tokens), expected, rtol=1e-5, atol=1e-6)


def test_its_exponent_is_learned_and_finite_for_what_is_not_positive():
    pool = GeneralizedMeanPool()
    pool(torch.tensor([[[-1.0, 0.0, 2.0], [-3.0, 0.0, 1.0]]])).sum().backward()
    assert bool(pool.p.grad.isfinite())
    assert float(pool.p.grad) != 0


def test_half_precision_keeps_its_type():
    tokens = torch.rand(2, 6, 4).bfloat16()
    assert GeneralizedMeanPool()(tokens).dtype == torch.bfloat16


@pytest.mark.parametrize("pooling", ["gem", "attention", "avg"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_can_be_pooled_so(name, pooling):
    backbone = TimmBackbone(name, global_pool=pooling).eval()
    features = backbone(pictures(name))
    assert features.shape == (2, backbone.feature_dim)
    assert bool(features.isfinite().all())
    if pooling == "gem":
        features.sum().backward()
        (exponent,) = [p for n, p in backbone.named_parameters() if n.endswith(".p")]
        assert exponent.grad is not None


def test_an_exponent_of_one_is_the_mean_over_the_places_of_a_map():
    torch.manual_seed(0)
    averaged = TimmBackbone("test_resnet").eval()
    torch.manual_seed(0)
    pooled = TimmBackbone("test_resnet", global_pool="gem").eval()
    pooled.model.global_pool.tokens.p.data.fill_(1.0)
    images = pictures("test_resnet")
    with torch.no_grad():
        torch.testing.assert_close(pooled(images), averaged(images), rtol=1e-4, atol=1e-5)  # maps end in a ReLU


def test_the_class_token_is_timm_s_token_pooling():
    torch.manual_seed(0)
    one = TimmBackbone("test_vit", global_pool="cls").eval()
    torch.manual_seed(0)
    other = timm.create_model("test_vit", num_classes=0, global_pool="token").eval()
    images = pictures("test_vit")
    with torch.no_grad():
        torch.testing.assert_close(one(images), other(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_are_the_network_s_features_before_they_are_pooled(name):
    backbone = TimmBackbone(name, tokens=True).eval()
    with torch.no_grad():
        tokens = backbone(pictures(name))
        unpooled = backbone.model.forward_features(pictures(name))
    assert tokens.ndim == 3
    assert tokens.shape[::2] == (2, backbone.feature_dim)
    assert tokens.numel() == unpooled.numel()


def test_tokens_with_a_pooling_are_refused():
    with pytest.raises(ValueError, match="global_pool: 'gem' has nothing to pool"):
        TimmBackbone("test_vit", tokens=True, global_pool="gem")


def test_gradients_with_checkpointing_are_those_without():
    images = pictures("test_vit")

    def gradients(**arguments):
        torch.manual_seed(0)
        backbone = TimmBackbone("test_vit", **arguments).train()
        backbone(images).square().sum().backward()
        return {name: p.grad for name, p in backbone.named_parameters()}

    one, other = gradients(), gradients(grad_checkpointing=True)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert TimmBackbone("test_vit", grad_checkpointing=True).model.grad_checkpointing


def test_checkpointing_that_would_count_batches_twice_is_refused():
    with pytest.raises(ValueError, match=r"grad_checkpointing: .* frozen_batch_norm=True"):
        TimmBackbone("test_resnet", grad_checkpointing=True)
    TimmBackbone("test_resnet", grad_checkpointing=True, frozen_batch_norm=True)
