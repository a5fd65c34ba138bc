"""Frozen parts get no gradient and their BatchNorm rests; a pattern that matches nothing is an error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge.errors import ConfigError
from metricforge.models import MetricLearner


def build(backbone="test_resnet", head=None, **frozen):
    torch.manual_seed(0)
    cfg = dict(
        backbone=dict(type="TimmBackbone", name=backbone),
        head=head or dict(type="EmbeddingHead", dim=8),
        loss=dict(type="ProxyAnchorLoss"),
    )
    return MetricLearner.from_config(cfg | frozen, num_classes=4)


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        ("backbone", "backbone."),
        (["backbone.model.layer1"], "backbone.model.layer1."),
        (
            ["backbone.model.layer?.0.bn1"],
            (
                "backbone.model.layer1.0.bn1.",
                "backbone.model.layer2.0.bn1.",
                "backbone.model.layer3.0.bn1.",
                "backbone.model.layer4.0.bn1.",
            ),
        ),
        (["head.linear.weight"], "head.linear.weight"),
    ],
)
def test_what_a_name_matches_stays_and_the_rest_trains(patterns, frozen):
    model = build(freeze=patterns)
    names = {name for name, _ in model.named_parameters()}
    assert names - trained(model) == {name for name in names if name.startswith(frozen)}


def test_a_name_is_matched_up_to_its_end():
    model = build("test_vit", freeze=["backbone.model.blocks.1"])
    assert "backbone.model.blocks.1.norm1.weight" not in trained(model)
    assert "backbone.model.blocks.2.norm1.weight" in trained(model)


def test_stages_are_frozen_from_the_images_on():
    stem = build(freeze_stages=1)
    assert "backbone.model.layer1.0.conv1.weight" in trained(stem)
    assert "backbone.model.conv1.0.weight" not in trained(stem) or "backbone.model.conv1.weight" not in trained(stem)
    two = build(freeze_stages=2)
    assert not any(name.startswith("backbone.model.layer1.") for name in trained(two))
    assert any(name.startswith("backbone.model.layer2.") for name in trained(two))


@pytest.mark.parametrize("frozen", [dict(freeze=["backbone.model.layer1"]), dict(freeze_stages=2)])
def test_frozen_batch_norm_stays_in_evaluation_mode(frozen):
    model = build(**frozen).train()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    resting = {name for name, module in norms.items() if not module.training}
    assert any(name.startswith("backbone.model.layer1.") for name in resting)
    assert not any(name.startswith("backbone.model.layer2.") for name in resting)
    before = {name: norms[name].running_mean.clone() for name in norms}
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    model(images, torch.tensor([0, 0, 1, 1])).total.backward()
    moved = {name for name in norms if not torch.equal(before[name], norms[name].running_mean)}
    assert moved == set(norms) - resting
    assert not any(module.training for module in model.eval().modules())


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (dict(freeze=["backbone.model.layer9"]), r'model.freeze: "backbone.model.layer9" matches no weight'),
        (dict(freeze_stages=99), "model.freeze_stages: 99 stages, and TimmBackbone has"),
        (dict(freeze=["backbone", "head", "loss"]), "model.freeze: nothing is left to train"),
    ],
)
def test_what_cannot_be_frozen_is_named(frozen, message):
    with pytest.raises(ConfigError, match=message):
        build(**frozen)


@pytest.mark.parametrize("frozen", [dict(freeze="backbone"), dict(freeze=["head.linear"]), dict(freeze_stages=2)])
def test_a_model_for_a_checkpoint_is_built_whatever_was_frozen(frozen):
    chosen = dict(backbone=dict(type="TimmBackbone", name="test_resnet"), head=dict(type="EmbeddingHead"))
    model = MetricLearner.from_config(chosen | frozen, num_classes=None, for_checkpoint=True)
    assert trained(model) == {name for name, _ in model.named_parameters()}
