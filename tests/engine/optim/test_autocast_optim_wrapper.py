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
