import pytest
import torch
from torch import nn

from metricforge.models import evaluation_mode


def network() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(3)))


def test_every_module_is_in_evaluation_mode_and_then_back_in_its_own():
    model = network().train()
    model[2][0].eval()  # statistics that stay as they are, on purpose
    before = [module.training for module in model.modules()]
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before


def test_an_error_leaves_the_modes_as_they_were():
    model = network().train()
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert all(module.training for module in model.modules())


def test_a_part_in_training_mode_moves_no_statistics_while_the_whole_is_in_evaluation_mode():
    model = network().eval()
    model[0].train()
    with evaluation_mode(model):
        model(torch.randn(4, 3) + 5)
    assert torch.equal(model[0].running_mean, torch.zeros(3))
    assert model[0].training
