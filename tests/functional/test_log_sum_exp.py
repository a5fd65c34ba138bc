from __future__ import annotations

import math

import pytest
import torch

from metricforge.functional import log1p_sum_exp


@pytest.mark.parametrize("dim", [0, 1])
def test_it_is_the_logarithm_of_one_and_the_sum(dim):
    logits = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mul(3)
    logits[1, 2] = -torch.inf
    torch.testing.assert_close(log1p_sum_exp(logits, dim), (1 + logits.exp().sum(dim)).log())


def test_neither_large_nor_small_terms_lose_digits():
    logits = torch.tensor([[200.0, 199.0], [-30.0, -31.0], [-torch.inf, -torch.inf], [0.0, -torch.inf]])
    expected = [200 + math.log1p(math.exp(-1)), math.exp(-30) * (1 + math.exp(-1)), 0.0, math.log(2)]
    torch.testing.assert_close(log1p_sum_exp(logits, 1), torch.tensor(expected), rtol=1e-6, atol=0)


def test_its_gradients_agree_with_finite_differences_twice():
    logits = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for dim in (0, 1):
        assert torch.autograd.gradcheck(log1p_sum_exp, (logits, dim))
        assert torch.autograd.gradgradcheck(log1p_sum_exp, (logits, dim))


def test_what_is_not_there_has_no_gradient_and_nan_stays():
    logits = torch.tensor([[-torch.inf, -torch.inf], [1.0, -torch.inf]], requires_grad=True)
    log1p_sum_exp(logits, 1).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, 0.0], [math.e / (1 + math.e), 0.0]]))
    assert log1p_sum_exp(torch.tensor([[torch.nan, 0.0]]), 1).isnan()
    assert log1p_sum_exp(torch.zeros(0, 3), 0).tolist() == [0, 0, 0]
