"""Where the network of a row is not that of the paper."""

import torch
import torchvision
from torch import nn

from metricforge.reproduction.row_notes import network_note


def test_the_note_on_googlenet_counts_its_batch_norms():
    network = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert f"has {count} BatchNorm layers" in network_note(dict(type="TorchvisionBackbone"))


def test_torchvision_s_alexnet_has_neither_groups_nor_response_normalisation():
    with torch.device("meta"):
        modules = list(torchvision.models.alexnet(weights=None).modules())
    assert not any(isinstance(module, nn.LocalResponseNorm) for module in modules)
    assert all(module.groups == 1 for module in modules if isinstance(module, nn.Conv2d))
    assert "CaffeNet" in network_note(dict(type="TorchvisionBackbone", name="alexnet"))


def test_other_networks_have_none():
    assert network_note(dict(type="TorchvisionBackbone", name="resnet50")) == ""
    assert network_note(dict(type="BNInception")) == ""
