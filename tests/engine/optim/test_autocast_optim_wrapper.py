"""Trap 7 of mmengine: mixed precision that asserts a GPU."""

from __future__ import annotations

import torch
from torch import nn

from metricforge.engine import AutocastOptimWrapper


def test_the_forward_pass_is_bfloat16_and_the_weights_stay_float32():
    model = nn.Linear(8, 8)
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        output = model(torch.randn(4, 8))
    assert output.dtype == torch.bfloat16
    before = model.weight.detach().clone()
    wrapper.update_params(output.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


def half_precision(**kwargs):
    model = nn.Linear(8, 8)
    return model, AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), precision="fp16", **kwargs)


def test_float16_steps_by_the_unscaled_gradient():
    model, wrapper = half_precision()
    before, inputs = model.weight.detach().clone(), torch.randn(4, 8)
    with wrapper.optim_context(model):
        output = model(inputs)
    assert output.dtype == torch.float16
    wrapper.update_params(output.float().square().mean())
    gradient = 2 / output.numel() * output.double().T @ inputs.double()  # of the mean of squares
    torch.testing.assert_close((before - model.weight).double(), 0.1 * gradient, rtol=1e-2, atol=1e-4)


def test_an_update_whose_gradient_overflows_is_left_out_and_the_scale_halved():
    model, wrapper = half_precision()
    before, scale = model.weight.detach().clone(), wrapper.scaler.get_scale()
    with wrapper.optim_context(model):
        output = model(torch.full((4, 8), 1e3))
    wrapper.update_params(1e5 * output.sum())
    assert torch.equal(model.weight, before)
    assert wrapper.scaler.get_scale() == scale / 2


def test_the_scale_is_part_of_the_state():
    _, wrapper = half_precision()
    wrapper.scaler.scale(torch.ones(1))  # which makes the scale
    wrapper.scaler.update(128.0)
    other = half_precision()[1]
    other.load_state_dict(wrapper.state_dict())
    assert other.scaler.state_dict()["scale"] == 128.0
