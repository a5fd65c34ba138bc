"""A bundle of a trained model can be what the next backbone begins with."""

from __future__ import annotations

import pytest
import torch

from metricforge import BACKBONES
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import CheckpointError
from metricforge.models import MetricLearner

NETWORKS = [
    dict(type="TimmBackbone", name="resnet10t"),
    dict(type="TimmBackbone", name="test_vit"),
    dict(type="TorchvisionBackbone", name="mobilenet_v3_small"),
    dict(type="TimmBackbone", name="test_resnet", global_pool="gem"),
    dict(type="TimmBackbone", name="test_convnext", global_pool="attention"),
    dict(type="TimmBackbone", name="test_vit", global_pool="attention"),
]


def bundle_of(backbone, folder):
    torch.manual_seed(1)
    parts = dict(backbone=backbone, head=dict(type="EmbeddingHead", dim=8), similarity=dict(type="CosineSimilarity"))
    learner = MetricLearner.from_config(parts, None)
    return learner.backbone, EmbeddingModel(learner, ModelDescription(parts, ()), torch.device("cpu"), "").save(folder)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: f"{network['name']}-{network.get('global_pool')}")
def test_a_backbone_begins_with_a_bundle_s_weights(network, tmp_path):
    trained, bundle = bundle_of(network, tmp_path / "bundle")
    torch.manual_seed(2)
    begun = BACKBONES.build(dict(network, weights=str(bundle)), path="backbone")
    images = torch.rand(2, 3, 160, 160)
    assert torch.equal(begun.eval()(images), trained.eval()(images))


def test_a_pooling_is_new_where_the_bundle_has_none_and_compared_where_it_has_another(tmp_path):
    network = dict(type="TimmBackbone", name="test_vit")
    _, bundle = bundle_of(network, tmp_path / "plain")
    pooled = dict(network, weights=str(bundle), global_pool="gem")
    assert BACKBONES.build(pooled, path="backbone").model.attn_pool.p == 3
    _, bundle = bundle_of(dict(network, global_pool="attention"), tmp_path / "attention")
    with pytest.raises(CheckpointError, match=r"has another attn_pool \(Error\(s\) in loading state_dict"):
        BACKBONES.build(dict(pooled, weights=str(bundle)), path="backbone")


def test_a_bundle_of_another_network_is_refused(tmp_path):
    _, bundle = bundle_of(NETWORKS[0], tmp_path / "bundle")
    with pytest.raises(CheckpointError, match="is of another network than"):
        BACKBONES.build(dict(NETWORKS[1], weights=str(bundle)), path="backbone")


def test_a_changed_bundle_is_refused(tmp_path):
    _, bundle = bundle_of(NETWORKS[0], tmp_path / "bundle")
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed"):
        BACKBONES.build(dict(NETWORKS[0], weights=str(bundle)), path="backbone")
