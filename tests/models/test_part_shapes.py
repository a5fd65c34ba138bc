from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge import BACKBONES, HEADS, Backbone, Head
from metricforge.errors import ConfigError
from metricforge.models import MetricLearner
from metricforge.similarities import EuclideanSimilarity


class Tokens(Backbone):
    """Gives whatever its test says."""

    def __init__(self, feature_dim: int = 6, shape: tuple[int, ...] = (6,)) -> None:
        super().__init__()
        self.feature_dim, self.shape = feature_dim, shape

    def forward(self, images):
        return torch.ones(len(images), *self.shape)


class Half(Head):
    """Gives the first ``given`` features."""

    def __init__(self, dim: int | None, given: int) -> None:
        super().__init__()
        self.given = given
        if dim is not None:
            self.dim = dim

    def forward(self, features):
        return features[:, : self.given]


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    for registry, cls in ((BACKBONES, Tokens), (HEADS, Half)):
        registry.names()
        monkeypatch.setattr(registry, "_module_dict", dict(registry.module_dict))
        registry.register_module(module=cls)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((9, 6), r"Tokens of the module .* returns \(2, 9, 6\), tokens \(B, T, F\): pool them"),
        ((6, 3, 3), r"Tokens .* returns \(2, 6, 3, 3\), a feature map \(B, F, H, W\): pool it"),
        ((5,), r"Tokens .* returns \(2, 5\); it must return pooled features \(B, F\) with F = feature_dim = 6"),
    ],
)
def test_a_backbone_that_does_not_give_pooled_features_is_named(shape, said):
    learner = MetricLearner(Tokens(shape=shape), nn.Identity(), EuclideanSimilarity())
    with pytest.raises(ConfigError, match=r"model.backbone: " + said):
        learner.embed(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_a_head_of_other_embeddings_than_it_says_is_named():
    learner = MetricLearner(Tokens(), Half(dim=4, given=3), EuclideanSimilarity())
    with pytest.raises(ConfigError, match=r"model.head: Half .* returns \(2, 3\); .* D = dim = 4"):
        learner.embed(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_a_head_without_dim_is_named_before_anything_else_is_built():
    config = dict(backbone=dict(type="Tokens"), head=dict(type="Half", dim=None, given=3), loss=dict(type="Absent"))
    with pytest.raises(ConfigError, match=r"model.head: Half .* has no attribute dim; set self.dim in its constructor"):
        MetricLearner.from_config(config, num_classes=4)


def test_a_backbone_whose_feature_dim_is_no_size_is_named():
    with pytest.raises(ConfigError, match=r"model.backbone: Tokens .* has feature_dim=0; set self.feature_dim"):
        MetricLearner.from_config(dict(backbone=dict(type="Tokens", feature_dim=0)), num_classes=4)


@pytest.fixture
def mean_of_tokens():
    class MeanOfTokens(Head):
        takes_tokens = True

        def __init__(self, feature_dim):
            super().__init__()
            self.dim = feature_dim

        def forward(self, features):
            return features.mean(dim=1)  # (B, D)

    HEADS.register_module(module=MeanOfTokens)
    yield dict(type="MeanOfTokens")
    HEADS._module_dict.pop("MeanOfTokens")


def test_a_head_that_takes_tokens_gets_them(mean_of_tokens):
    cfg = dict(backbone=dict(type="TimmBackbone", name="test_vit", tokens=True), head=mean_of_tokens)
    model = MetricLearner.from_config(cfg, num_classes=None)
    side = model.backbone.input_size[0]
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        tokens = model.eval().backbone(model.backbone.prepare(images))
        torch.testing.assert_close(model.embed(images), tokens.mean(dim=1))


def test_tokens_and_a_head_that_does_not_take_them_are_refused(mean_of_tokens):
    for tokens, head, message in (
        (True, dict(type="EmbeddingHead", dim=8), "model.head: EmbeddingHead takes pooled features"),
        (False, mean_of_tokens, "model.head: MeanOfTokens.* takes tokens, and TimmBackbone pools them"),
    ):
        cfg = dict(backbone=dict(type="TimmBackbone", name="test_vit", tokens=tokens), head=head)
        with pytest.raises(ConfigError, match=message):
            MetricLearner.from_config(cfg, num_classes=None)
