from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from metricforge.functional import (
    in_float32,
    l2_normalize,
    paired_squared_distances,
    pairwise_cosine,
    pairwise_distances,
    pairwise_squared_distances,
    safe_sqrt,
)


def rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_in_float32_raises_half_types_and_keeps_the_others():
    dtypes = [in_float32(torch.zeros(1, dtype=d)).dtype for d in (torch.float16, torch.bfloat16, torch.float64)]
    assert dtypes == [torch.float32, torch.float32, torch.float64]


def test_pairwise_distances_of_a_hand_worked_case():
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]])
    expected = torch.tensor([[5.0, 10.0, 1.0], [0.0, 5.0, 18**0.5]])
    assert torch.allclose(pairwise_distances(x, y), expected)
    assert torch.allclose(pairwise_squared_distances(x, y), expected.square())


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_pairwise_functions_agree_with_scipy(metric):
    x, y = rows(9, 5), rows(6, 5, seed=1)
    ours = {
        "euclidean": pairwise_distances,
        "sqeuclidean": pairwise_squared_distances,
        "cosine": lambda a, b: 1 - pairwise_cosine(a, b),
    }[metric]
    np.testing.assert_allclose(ours(x, y), cdist(x, y, metric), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours(x, x), cdist(x, x, metric), rtol=1e-10, atol=1e-12)


def test_paired_squared_distances_agree_with_a_loop_and_are_exactly_zero_for_duplicates():
    x, y = rows(5, 3), rows(5, 3, seed=1)
    y[2] = x[2]
    found = paired_squared_distances(x, y)
    expected = [sum((x[p, d].item() - y[p, d].item()) ** 2 for d in range(3)) for p in range(5)]
    assert found.tolist() == pytest.approx(expected)
    assert found[2] == 0


def test_the_diagonal_of_a_batch_with_itself_is_exactly_zero():
    x = 100 + rows(20, 64).float()  # |x|^2 + |x|^2 - 2xx of such long rows is not zero in float32
    assert pairwise_squared_distances(x, x).diagonal().eq(0).all()


def test_squared_distances_are_never_negative_where_rounding_would_make_them_so():
    x = 100 + 1e-3 * rows(20, 64).float()
    assert pairwise_squared_distances(x, x.clone()).min() >= 0


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances, pairwise_cosine])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(function, dtype):
    x = (30 * rows(4, 128)).to(dtype)  # |x|^2 is above 65504, float16's largest number
    found = function(x, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), function(x.double(), x.double()), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances, pairwise_cosine])
def test_autocast_does_not_lower_the_precision(function):
    x, y = rows(6, 32).float(), rows(5, 32, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = function(x, y)
    torch.testing.assert_close(found, function(x.double(), y.double()).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances, pairwise_cosine])
def test_gradients_agree_with_finite_differences(function):
    x, y = rows(4, 3).requires_grad_(), rows(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, y))


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances])
def test_gradients_of_a_batch_with_itself_agree_with_finite_differences_and_can_be_differentiated_again(function):
    x, y = rows(4, 3).requires_grad_(), rows(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: function(rows, rows), (x,))
    assert torch.autograd.gradgradcheck(lambda rows: function(rows, rows), (x,))
    assert torch.autograd.gradgradcheck(function, (x, y))


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances])
def test_a_backward_pass_under_autocast_does_not_lower_the_precision(function):
    x, y = rows(6, 32), rows(5, 32, seed=1)
    weights = rows(6, 6, seed=2)
    for other in (x, y):
        gradients = []
        for dtype in (torch.float32, torch.float64):
            a = x.to(dtype).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                found = function(a, a if other is x else other.to(dtype))
                (gradient,) = torch.autograd.grad((found * weights[:, : len(other)].to(dtype)).sum(), a)
            gradients.append(gradient)
        assert gradients[0].dtype == torch.float32
        torch.testing.assert_close(gradients[0], gradients[1].float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [pairwise_squared_distances, pairwise_distances])
def test_gradients_that_come_transposed_are_neither_mixed_up_nor_changed(function):
    x, weights = rows(5, 3), rows(5, 5, seed=2)
    gradients = []
    for incoming in (weights.T.contiguous(), weights.T):  # the same values in another layout
        a = x.clone().requires_grad_()
        function(a, a).backward(incoming)
        gradients.append(a.grad)
    assert torch.equal(weights, rows(5, 5, seed=2))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_gradient_of_the_diagonal_is_zero_even_where_rounding_would_not_cancel_it():
    x = (1000 * rows(8, 16).float()).requires_grad_()
    pairwise_squared_distances(x, x).diagonal().sum().mul(1e6).backward()
    assert x.grad.eq(0).all()


def test_the_gradient_of_the_root_is_zero_at_zero():
    squares = torch.tensor([0.0, 4.0], requires_grad=True)
    roots = safe_sqrt(squares)
    roots.sum().backward()
    assert roots.tolist() == [0, 2]
    assert squares.grad.tolist() == [0, 0.25]


def test_what_is_not_finite_is_not_hidden():
    assert safe_sqrt(torch.tensor(torch.nan)).isnan()
    assert safe_sqrt(torch.tensor(torch.inf)).isinf()
    x = torch.tensor([[torch.nan, 0.0], [1.0, 2.0], [0.0, 0.0]])
    for function in (pairwise_squared_distances, pairwise_distances, pairwise_cosine):
        assert function(x, x)[0, 1:].isnan().all()


def test_the_distance_of_duplicates_has_a_finite_gradient():
    x = torch.ones(3, 4, requires_grad=True)
    pairwise_distances(x, x).sum().backward()
    assert x.grad.eq(0).all()


def test_l2_normalize_gives_rows_of_length_one_and_leaves_a_zero_row_zero():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = l2_normalize(x)
    assert torch.allclose(found, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    found.sum().backward()
    assert x.grad.isfinite().all()


def test_scaled_cosines_are_the_cosines_times_the_scale():
    x, y = rows(4, 3), rows(5, 3, seed=1)
    for other in (x, y):
        torch.testing.assert_close(pairwise_cosine(x, other, scale=20.0), 20 * pairwise_cosine(x, other))


def test_empty_sets_have_empty_distances():
    empty = torch.zeros(0, 3)
    shapes = [
        tuple(pairwise_distances(a, b).shape) for a, b in itertools.product((empty, rows(2, 3).float()), repeat=2)
    ]
    assert shapes == [(0, 0), (0, 2), (2, 0), (2, 2)]


@given(
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.sampled_from([1e-6, 1e-2, 1.0, 1e3]),
)
def test_distances_and_gradients_are_finite_whichever_rows_are_duplicates(seed, picks, scale):
    x = (scale * rows(5, 4, seed).float())[picks].requires_grad_()
    distances = pairwise_distances(x, x)
    distances.sum().backward()
    assert distances.isfinite().all()
    assert x.grad.isfinite().all()
    squares = distances.detach().square()  # what rounds is |x|^2 + |y|^2 - 2xy, relative to the rows' lengths
    torch.testing.assert_close(squares, squares.T, rtol=1e-4, atol=1e-4 * scale**2)
