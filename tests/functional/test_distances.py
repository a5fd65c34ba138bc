from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from metricforge import functional
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


def by_differences(x: torch.Tensor, y: torch.Tensor, *, squared: bool) -> torch.Tensor:
    squares = (x[:, None] - y[None]).square().sum(dim=2)
    apart = squares > 0
    return squares if squared else squares.where(apart, 1).sqrt().where(apart, 0)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("dim", [2, 64, 512])
@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0, 1e3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_values_and_gradients_are_those_of_explicit_differences_whatever_offset_the_rows_share(
    squared, dim, offset, dtype
):
    exact = rows(12, dim) + offset
    exact[5] = exact[3]  # duplicates
    exact[7] = exact[3] + 1e-4 * rows(1, dim, seed=3)[0]
    exact[8] = 0.1 * exact[9]
    x, y = exact.to(dtype), (rows(7, dim, seed=1) + offset).to(dtype)
    y[2] = x[3]
    function = pairwise_squared_distances if squared else pairwise_distances
    tight = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    for within in (True, False):
        found, wanted = [], []
        for results, kind in ((found, dtype), (wanted, torch.float64)):
            a, b = (one.detach().to(kind, copy=True).requires_grad_() for one in (x, y))
            others = a if within else b
            values = function(a, others) if results is found else by_differences(a, others, squared=squared)
            (values.double() * rows(12, len(others), seed=2)).sum().backward()
            results.extend([values.detach().double(), a.grad.double(), *([] if within else [b.grad.double()])])
        assert (found[0] - wanted[0]).abs().le(1e-3 * wanted[0] if dtype != torch.float64 else 1e-9 * wanted[0]).all()
        for ours, true in zip(found[1:], wanted[1:], strict=True):
            assert (ours - true).norm(dim=1).le(tight * true.norm(dim=1) + 1e-30).all()


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12, 1e-20])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_near_duplicates_push_each_other_straight_apart(gap, dtype):
    x = l2_normalize(rows(6, 8)).to(dtype)
    x[0, :2] = 0
    x[1] = x[0]
    x[1, 0] = gap
    x[1, 1] = gap / 2
    x.requires_grad_()
    distance = pairwise_distances(x, x)[0, 1]
    distance.backward()
    assert distance.item() == pytest.approx(gap * 1.25**0.5, rel=1e-5)
    torch.testing.assert_close(x.grad[1, :2].double(), torch.tensor([1, 0.5], dtype=torch.float64) / 1.25**0.5)
    assert x.grad[0].eq(-x.grad[1]).all()


@pytest.mark.parametrize("scale", [1e37, 1e30, 1e-30, 1e-37])
def test_distances_of_rows_whose_squares_overflow_or_vanish_are_right(scale):
    x = (scale * rows(6, 4)).float().requires_grad_()
    y = x.detach().double().requires_grad_()
    found, wanted = pairwise_distances(x, x), by_differences(y, y, squared=False)
    (found * rows(6, 6, seed=1).float()).sum().backward()
    (wanted * rows(6, 6, seed=1)).sum().backward()
    torch.testing.assert_close(found / scale, (wanted / scale).float(), rtol=1e-4, atol=0)
    torch.testing.assert_close(x.grad, y.grad.float(), rtol=1e-4, atol=1e-6)


def test_distances_that_overflow_are_an_error_that_says_what_to_do():
    x = (1e37 * rows(6, 4)).float()
    with pytest.raises(ValueError, match=r"squared distances of embeddings overflow torch.float32.*normalise them"):
        pairwise_squared_distances(x, x)
    with pytest.raises(ValueError, match=r"^distances of embeddings overflow"):
        pairwise_distances(torch.full((1, 400), 3e38), torch.full((1, 400), -3e38))


@pytest.mark.parametrize("value", [0.0, 0.3, 1e30])
def test_rows_that_are_all_the_same_are_at_distance_zero_with_a_gradient_of_zero(value):
    x = torch.full((500, 40), value, requires_grad=True)
    for function in (pairwise_distances, pairwise_squared_distances):
        found = function(x, x)
        (gradient,) = torch.autograd.grad(found.sum(), x)
        assert found.eq(0).all()
        assert gradient.eq(0).all()


def test_second_derivatives_hold_for_near_pairs_too():
    x = rows(4, 3)
    x[1] = x[0] + 1e-3 * rows(1, 3, seed=4)[0]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: pairwise_distances(a, a), (x,), eps=1e-7, atol=1e-4)
    found, wanted = (
        torch.autograd.grad(torch.autograd.grad(values.square().sum(), x, create_graph=True)[0].square().sum(), x)[0]
        for values in (pairwise_distances(x, x) ** 2, by_differences(x, x, squared=True))
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_rows_of_any_length_are_normalised(scale):
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]) * scale
    torch.testing.assert_close(l2_normalize(x), torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


def test_a_row_of_zeros_gets_no_gradient_from_a_cosine():
    x = torch.tensor([[0.0, 0.0], [0.6, 0.8]], requires_grad=True)
    pairwise_cosine(x, torch.eye(2)).sum().backward()
    assert x.grad[0].eq(0).all()
    torch.testing.assert_close(x.grad[1], torch.tensor([0.8, -0.6]) * (0.8 - 0.6))


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


class _Normalized(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.l2_normalize(x)


def test_a_recorded_normalisation_is_that_of_the_rows_however_long_or_short():
    rows = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [3e30, 4e30], [0.0, 0.0], [3e-42, 4e-42]])
    program = torch.export.export(_Normalized(), (torch.ones(3, 2),), dynamic_shapes=({0: torch.export.Dim("n")},))
    found = program.module()(rows)
    assert torch.equal(found[0], functional.l2_normalize(rows[:1])[0])
    assert torch.allclose(found, functional.l2_normalize(rows), atol=1e-6)
    assert not functional.is_exporting()
