"""Trap 8 of mmengine: a group for every parameter, and keys that silently match nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge.engine import ParameterGroups
from metricforge.errors import ConfigError
from metricforge.models import MetricLearner


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


@pytest.mark.parametrize(
    ("paramwise", "message"),
    [
        ([("head", 2)], r"paramwise_cfg: \[\('head', 2\)\] must be a dict with the keys custom_keys"),
        (dict(custom_key={}), 'custom_key: there is no such key; did you mean "custom_keys"'),
        (dict(custom_keys=["head"]), r"custom_keys: \['head'\] must be a dict, such as"),
        (dict(custom_keys=dict(head=10)), r'custom_keys\["head"\]: 10 must be a dict such as'),
        (dict(custom_keys={1: dict(lr_mult=2)}), r'custom_keys\["1"\]: .* of a part of a name in quotes'),
        (
            dict(custom_keys=dict(head=dict(lr_mul=10))),
            r'"head"\]\.lr_mul: there is no such key; did you mean "lr_mult"',
        ),
        (dict(custom_keys=dict(head=dict(lr_mult="10"))), r"lr_mult: '10' must be a number >= 0"),
        (dict(custom_keys=dict(head=dict(lr_mult=float("nan")))), "lr_mult: nan must be a number >= 0"),
        (dict(custom_keys=dict(head=dict(decay_mult=0))), "decay_mult: multiplies .*weight_decay, which is not set"),
        (dict(norm_decay_mult=0.0), "norm_decay_mult: multiplies .*weight_decay, which is not set"),
        (dict(bias_lr_mult=-1), "bias_lr_mult: -1 must be a number >= 0"),
        (dict(bypass_duplicate=1), "bypass_duplicate: 1 must be True or False"),
    ],
)
def test_a_key_or_a_factor_that_would_do_nothing_or_fail_is_refused(paramwise, message):
    with pytest.raises(ConfigError, match=message):
        ParameterGroups(dict(optimizer=dict(type="SGD", lr=1.0)), paramwise)(Model())


def test_a_custom_key_may_set_any_option_that_the_optimizer_has_for_a_group():
    found = groups(Model(), head=dict(betas=(0.5, 0.9), lr_mult=2))
    assert {group["betas"]: group["lr"] for group in found} == {(0.9, 0.999): 1.0, (0.5, 0.9): 2.0}


def rates_by_name(paramwise, name="test_vit", **model):
    cfg = dict(backbone=dict(type="TimmBackbone", name=name), head=dict(type="EmbeddingHead", dim=4)) | model
    learner = MetricLearner.from_config(cfg | dict(loss=dict(type="ProxyAnchorLoss")), num_classes=3)
    groups = ParameterGroups(dict(optimizer=dict(type="SGD", lr=1.0)), paramwise)(learner).optimizer.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: rates[id(p)] for name, p in learner.named_parameters() if id(p) in rates}


def test_learning_rates_fall_with_the_distance_of_a_layer_from_the_head():
    rates = rates_by_name(dict(layer_decay=0.5))
    blocks = 1 + max(int(name.split(".")[3]) for name in rates if ".blocks." in name)
    for number in range(blocks):
        assert rates[f"backbone.model.blocks.{number}.attn.qkv.weight"] == pytest.approx(0.5 ** (blocks - 1 - number))
    assert rates["backbone.model.patch_embed.proj.weight"] == pytest.approx(0.5**blocks)
    assert rates["backbone.model.norm.weight"] == 1.0
    assert rates["head.linear.weight"] == rates["loss.proxies"] == 1.0


def test_the_decay_multiplies_what_custom_keys_say_and_skips_what_is_frozen():
    rates = rates_by_name(
        dict(layer_decay=0.5, custom_keys={"backbone": dict(lr_mult=0.1)}), freeze=["backbone.model.blocks.0"]
    )
    assert rates["backbone.model.norm.weight"] == pytest.approx(0.1)
    assert rates["backbone.model.blocks.1.norm1.weight"] < 0.1
    assert rates["head.linear.weight"] == 1.0
    assert "backbone.model.blocks.0.norm1.weight" not in rates


@pytest.mark.parametrize(
    ("decay", "model", "message"),
    [
        (0, {}, r"layer_decay: 0 must be above 0 and at most 1"),
        (1.5, {}, r"layer_decay: 1.5 must be above 0"),
        (0.5, dict(backbone=dict(type="GlyphNet")), "GlyphNet does not say its layers"),
        (0.5, dict(freeze=["backbone"]), "TimmBackbone trains no layer"),
    ],
)
def test_a_decay_without_effect_is_refused(decay, model, message):
    with pytest.raises(ConfigError, match=message):
        rates_by_name(dict(layer_decay=decay), **model)
