from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.heads import EmbeddingHead
from metricforge.registry import HEADS


def test_the_layers_are_layer_norm_then_linear_then_l2():
    torch.manual_seed(0)
    head = EmbeddingHead(feature_dim=6, dim=4, layer_norm=True, bias=True).double()
    features = torch.randn(5, 6, dtype=torch.float64) * 3 + 1
    x = features.numpy()
    x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    x = x @ head.linear.weight.detach().numpy().T + head.linear.bias.detach().numpy()
    x /= np.sqrt((x**2).sum(axis=1, keepdims=True))
    assert np.allclose(head(features).detach().numpy(), x, atol=1e-12)


def test_every_layer_can_be_left_out():
    features = torch.randn(3, 6)
    head = EmbeddingHead(feature_dim=6, l2_normalize=False)
    assert head.dim == 6
    assert torch.equal(head(features), features)
    assert not list(head.parameters())


def test_the_linear_layer_has_a_bias_only_if_asked():
    assert [n for n, _ in EmbeddingHead(6, 4, layer_norm=True).named_parameters()] == ["linear.weight"]
    assert [n for n, _ in EmbeddingHead(6, 4, bias=True).named_parameters()] == ["linear.weight", "linear.bias"]


def test_a_zero_row_stays_zero_with_finite_gradients():
    features = torch.zeros(2, 6, requires_grad=True)
    embeddings = EmbeddingHead(6)(features)
    embeddings.sum().backward()
    assert torch.equal(embeddings, torch.zeros(2, 6))
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_come_out_normalised_in_float32(dtype):
    embeddings = EmbeddingHead(6, layer_norm=True)(torch.randn(4, 6).to(dtype) * 300)
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(4), atol=1e-5)


def test_under_autocast_lengths_are_1_to_float32_precision():
    head = EmbeddingHead(64, 32, layer_norm=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = head(torch.randn(4, 64))
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(4), atol=1e-6)


def test_dropout_acts_in_training_only():
    head = EmbeddingHead(1000, l2_normalize=False, dropout=0.4)
    features = torch.ones(1, 1000)
    dropped = (head(features) == 0).float().mean().item()
    assert 0.3 < dropped < 0.5
    assert torch.equal(head.eval()(features), features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dim=0), "dim must be a whole number >= 1, got 0"),
        (dict(feature_dim=0), "feature_dim must be a whole number >= 1, got 0"),
        (dict(dropout=1.0), "dropout must be at least 0 and below 1, got 1.0"),
        (dict(dim=2.5), "dim must be a whole number >= 1, got 2.5"),
        (dict(dropout="a"), "dropout must be a number >= 0, got 'a'"),
        (dict(bias=True), "bias=True needs a linear layer"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingHead(**dict(feature_dim=6) | arguments)


def test_a_config_builds_it_with_the_backbones_feature_dim():
    head = HEADS.build(dict(type="EmbeddingHead", dim=3), feature_dim=6)
    assert head(torch.randn(2, 6)).shape == (2, 3)
