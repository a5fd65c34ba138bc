from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge import Backbone
from metricforge.testing import check_backbone


class Small(Backbone):
    """Small and right; the rest break it."""

    feature_dim = 6

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, images):
        return self.layer(images).mean(dim=(2, 3))


class Frozen(Small):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


@pytest.mark.parametrize("backbone", [Small, Frozen])
def test_a_backbone_that_keeps_the_contract_passes(backbone):
    check_backbone(backbone())
    check_backbone(backbone(), image_size=17)


class OtherSize(Small):
    feature_dim = 7


class NoSize(Small):
    feature_dim = None


class NotPooled(Small):
    def forward(self, images):
        return self.layer(images)


class NoDeviation(Small):
    std = (0.5, 0.0, 0.5)


class OneMean(Small):
    mean = (0.5,)


class DropsInEvaluation(Small):
    def forward(self, images):
        return nn.functional.dropout(super().forward(images), 0.5)


class CentresTheBatch(Small):
    def forward(self, images):
        features = super().forward(images)
        return features - features.mean(dim=0)


class TakesTheRoot(Small):
    def forward(self, images):
        return super().forward(images).mul(0).sqrt() + 1


class Detached(Small):
    def forward(self, images):
        return super().forward(images).detach() * self.layer[1].bias.sum().mul(0).add(1)


class Constant(Small):
    def forward(self, images):
        return self.layer[1].bias.expand(len(images), 6) + 1


class NotANumber(Small):
    def forward(self, images):
        return super().forward(images) / 0 * 0


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (OtherSize, r"images give finite features \(training mode\): shape \(4, 6\), not \(4, 7\)"),
        (NoSize, r"feature_dim must be an int above 0, got None"),
        (NotPooled, r"shape \(4, 6, 30, 30\), not \(4, 6\)"),
        (NoDeviation, r"std must be above 0, got \(0\.5, 0\.0, 0\.5\)"),
        (OneMean, r"mean must be three numbers, got \(0\.5,\)"),
        (DropsInEvaluation, r"the same images give the same features \(evaluation mode\)"),
        (CentresTheBatch, r"a feature depends on its own image alone"),
        (TakesTheRoot, r"gradients are finite and reach the parameters: that of .* is not finite"),
        (Detached, r"gradients are finite and reach the parameters: no parameter got any"),
        (Constant, r"different images give different features"),
        (NotANumber, r"images give finite features \(training mode\)"),
    ],
)
def test_a_broken_backbone_is_caught_and_the_clause_is_named(backbone, message):
    with pytest.raises(AssertionError, match=rf"^{backbone.__name__}: .*{message}"):
        check_backbone(backbone())


def test_the_backbone_itself_is_not_touched():
    backbone = Small().eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    check_backbone(backbone)
    assert not backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_what_is_not_a_backbone_is_caught():
    with pytest.raises(AssertionError, match=r"^Linear: .*not a metricforge\.Backbone"):
        check_backbone(nn.Linear(2, 2))
