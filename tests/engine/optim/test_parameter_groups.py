"""Trap 8 of mmengine: a group for every parameter, and keys that silently match nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge.engine import ParameterGroups
from metricforge.errors import ConfigError


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)


def groups(model, **custom_keys):
    cfg = dict(optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1))
    return ParameterGroups(cfg, dict(custom_keys=custom_keys))(model).optimizer.param_groups


def test_like_parameters_share_a_group():
    model = Model()
    by_lr = {group["lr"]: group["params"] for group in groups(model, backbone=dict(lr_mult=0.1))}
    assert {lr: len(params) for lr, params in by_lr.items()} == {0.1: 6, 1.0: 2}


def test_every_parameter_is_in_exactly_one_group():
    model = Model()
    found = groups(model, backbone=dict(lr_mult=0.1), head=dict(lr_mult=10, decay_mult=0))
    together = [id(parameter) for group in found for parameter in group["params"]]
    assert sorted(together) == sorted(id(parameter) for parameter in model.parameters())
    assert {(group["lr"], group["weight_decay"]) for group in found} == {(0.1, 0.1), (10.0, 0.0)}


def test_a_step_uses_each_group_s_learning_rate():
    model = Model()
    wrapper = ParameterGroups(
        dict(optimizer=dict(type="SGD", lr=1.0)), dict(custom_keys={"backbone": dict(lr_mult=0.1)})
    )(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    for name, parameter in model.named_parameters():
        moved = 0.1 if name.startswith("backbone") else 1.0
        assert torch.allclose(before[name] - parameter, torch.tensor(moved))


def test_a_key_that_matches_nothing_is_refused_with_what_there_is():
    with pytest.raises(ConfigError, match=r'"neck" is in the name of no trainable parameter; .*backbone\.0.*head'):
        groups(Model(), neck=dict(lr_mult=2))
