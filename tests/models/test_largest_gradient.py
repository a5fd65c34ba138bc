from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metricforge.models.largest_gradient import largest_gradient


def model_with(*gradients: torch.Tensor) -> nn.Module:
    model = nn.Module()
    for number, gradient in enumerate(gradients):
        parameter = nn.Parameter(torch.zeros(gradient.shape, dtype=gradient.dtype))
        parameter.grad = gradient
        model.register_parameter(f"weight_{number}", parameter)
    return model


def test_it_is_the_largest_magnitude_of_all_gradients():
    model = model_with(torch.tensor([[0.5, -3.0]]), torch.tensor([2.0], dtype=torch.float64), torch.zeros(0))
    assert largest_gradient(model) == 3.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_shows(value: float, dtype: torch.dtype):
    gradient = torch.ones(5, 7, dtype=dtype)
    gradient[3, 2] = value
    found = largest_gradient(model_with(torch.ones(3), gradient.t(), torch.ones(2)))
    assert math.isnan(found) if math.isnan(value) else found == math.inf


def test_large_gradients_are_finite():
    assert largest_gradient(model_with(torch.tensor([1e300, 1.0], dtype=torch.float64))) == 1e300
    assert largest_gradient(model_with(torch.full((9,), 3e38))) == torch.tensor(3e38).item()


def test_rows_of_a_sparse_gradient_count_once_they_are_added_up():
    sparse = torch.sparse_coo_tensor([[1, 1]], torch.tensor([[2.0, -1.0], [3.0, -1.0]]), (4, 2))
    assert largest_gradient(model_with(sparse)) == 5.0


def test_without_gradients_there_is_none():
    assert largest_gradient(nn.Linear(2, 2)) is None
    assert largest_gradient(model_with(torch.zeros(0, 3))) is None
