import itertools
import math

import pytest
import torch
from metricforge_lifted.row_block_loss import row_block_loss
from torch.autograd import gradcheck, gradgradcheck

from metricforge import functional

BATCHES = {
    "small classes": [0, 0, 1, 1, 2, 2, 3],
    "half of it one class": [4, 4, 4, 4, 4, 0, 1, 1, 2, 3],
    "two classes, mixed up": [0, 1, 1, 0, 1, 0, 0, 0],
    "one class": [0, 0, 0, 0],
    "all different": [3, 1, 2],
}


def points(count, dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64).requires_grad_()


def both_ways(labels):
    return functional.positive_pairs(torch.tensor(labels), both_ways=True)


def loop_loss(x, labels, margin=1.0):
    """Eq. 4 as printed, one positive pair at a time, differentiated by autograd."""
    total, count = x.sum() * 0, 0
    for i, j in itertools.combinations(range(len(labels)), 2):
        if labels[i] != labels[j]:
            continue
        pulls = [margin - (x[end] - x[k]).norm() for end in (i, j) for k in range(len(x)) if labels[k] != labels[i]]
        count += 1
        if pulls:
            violation = torch.stack(pulls).exp().sum().log() + (x[i] - x[j]).norm()
            total = total + violation.clamp_min(0) ** 2
    return total / (2 * max(count, 1))


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 100])
def test_value_and_gradient_equal_a_loop_over_pairs_however_many_rows_a_block_has(labels, rows):
    x = points(len(labels))
    expected = loop_loss(x, labels)
    (expected_gradient,) = torch.autograd.grad(expected, x)
    found = row_block_loss(x, *both_ways(labels), None, 1.0, block=rows * len(labels))
    (gradient,) = torch.autograd.grad(found, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("block", [0, 1, 7, 8, 13, 48, 49, 50])
def test_any_block_size_is_rounded_to_whole_rows(block):
    x = points(7)
    labels = [0, 0, 1, 1, 2, 2, 3]
    found = row_block_loss(x, *both_ways(labels), None, 1.0, block=block)
    assert found.item() == pytest.approx(loop_loss(x, labels).item())


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_pairs_that_are_neither_listed_nor_negative_do_not_count(rows):
    x = points(6)
    negative = torch.zeros(6, 6, dtype=torch.bool)
    negative[[0, 4, 3, 5], [4, 0, 5, 3]] = True  # (0, 4) and (3, 5)
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 3, 2])  # (0, 1) and (2, 3)
    found = row_block_loss(x, first, second, negative, 1.0, block=6 * rows)
    (gradient,) = torch.autograd.grad(found, x)
    # The log of one exponential is its exponent.
    terms = [1 - (x[0] - x[4]).norm() + (x[0] - x[1]).norm(), 1 - (x[3] - x[5]).norm() + (x[2] - x[3]).norm()]
    expected = sum(term.clamp_min(0) ** 2 for term in terms) / 4
    (expected_gradient,) = torch.autograd.grad(expected, x)
    assert expected.item() > 0
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("rows", [2, 100])
def test_gradients_agree_with_finite_differences_and_can_be_differentiated_again(rows):
    labels = [0, 0, 1, 1, 2]
    first, second = both_ways(labels)
    x = points(5)
    assert gradcheck(lambda e: row_block_loss(e, first, second, None, 1.0, block=5 * rows), (x,))
    assert gradgradcheck(lambda e: row_block_loss(e, first, second, None, 1.0, block=5 * rows), (x,))
    negative = functional.negative_mask(torch.tensor(labels))
    assert gradgradcheck(lambda e: row_block_loss(e, first, second, negative, 1.0, block=5 * rows), (x,))


def test_the_transforms_of_torch_func_give_the_same_gradient():
    labels = [0, 0, 1, 1, 2]
    x = points(5)
    (expected,) = torch.autograd.grad(loop_loss(x, labels), x)
    found = torch.func.grad(lambda e: row_block_loss(e, *both_ways(labels), None, 1.0))(x.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rows", [2, 100])
def test_a_gradient_asked_for_twice_is_the_same_and_scales_with_what_comes_from_above(rows):
    x = points(6)
    total = row_block_loss(x, *both_ways([0, 0, 1, 1, 2, 2]), None, 1.0, block=6 * rows)
    once, again = (torch.autograd.grad(total, x, retain_graph=True)[0] for _ in range(2))
    (scaled,) = torch.autograd.grad(-3 * total, x)
    assert once.abs().max() > 1e-3
    assert torch.equal(once, again)
    torch.testing.assert_close(scaled, -3 * once)


@pytest.mark.parametrize("rows", [1, 100])
def test_duplicates_of_either_kind_give_a_gradient_of_zero_between_them(rows):
    # 0 and 1 are a positive pair, 2 is another class's duplicate of both; 3 pushes and pulls along one axis.
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    total = row_block_loss(x, *both_ways([0, 0, 1, 1]), None, 1.0, block=4 * rows)
    (gradient,) = torch.autograd.grad(total, x)
    # J_01 = log(2 e^1 + 2 e^0), as each has a negative at 0 and one at 1; J_23 = log(2 e^1 + 2 e^0) + 1.
    first = math.log(2 * math.e + 2)
    assert total.item() == pytest.approx((first**2 + (first + 1) ** 2) / 4)
    # Each of (0, 3) and (1, 3) is a negative of both positive pairs, weighted e^0 / (2 e^1 + 2 e^0).
    push = (first + first + 1) / 2 / (2 * math.e + 2)
    pull = (first + 1) / 2
    expected = [[push, 0], [push, 0], [-pull, 0], [pull - 2 * push, 0]]
    torch.testing.assert_close(gradient, torch.tensor(expected))


@pytest.mark.parametrize("rows", [2, 100])
def test_near_duplicates_far_from_the_origin_are_measured_as_by_whole_matrices(rows):
    x = (points(8).detach().float() * 1e-2 + 10).requires_grad_()
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    total = row_block_loss(x, *both_ways(labels), None, 1.0, block=8 * rows)
    expected = loop_loss(x.detach().double(), labels)
    # |x|^2 + |y|^2 - 2xy of squares of 300 is exact to about 300 * 2^-24, which is a distance of 0.004.
    assert total.item() == pytest.approx(expected.item(), abs=0.02)


@pytest.mark.parametrize("rows", [1, 100])
def test_an_embedding_that_is_not_a_number_is_not_hidden(rows):
    x = points(6).detach().index_fill(0, torch.tensor([4]), math.nan).requires_grad_()
    total = row_block_loss(x, *both_ways([0, 0, 1, 1, 2, 2]), None, 1.0, block=6 * rows)
    (gradient,) = torch.autograd.grad(total, x)
    assert total.isnan()
    assert gradient[4].isnan().all()


@pytest.mark.parametrize("rows", [1, 100])
def test_distances_far_beyond_the_range_of_exp_neither_overflow_nor_vanish(rows):
    x = torch.tensor([[0.0], [1e4], [2e4], [5e4]], requires_grad=True)
    total = row_block_loss(x, *both_ways([0, 1, 0, 1]), None, 1.0, block=4 * rows)
    (gradient,) = torch.autograd.grad(total, x)
    # 0 and 2 are 2e4 apart, with one negative 1e4 away each; 1 has both of them at 1e4, and is 4e4 from 3.
    violations = 1 + math.log(2) + 1e4, 1 + math.log(2) + 3e4
    assert total.item() == pytest.approx(sum(value**2 for value in violations) / 4, rel=1e-6)
    # Pairs (0, 1) and (1, 2) are the hardest negatives of both positive pairs, each with half of the weight.
    push = sum(violations) / 4
    pulls = [value / 2 for value in violations]
    expected = [-pulls[0] + push, -pulls[1] - push + push, pulls[0] - push, pulls[1]]
    torch.testing.assert_close(gradient.squeeze(1), torch.tensor(expected), rtol=1e-3, atol=1.0)


def test_a_backward_pass_under_autocast_does_not_lower_the_precision():
    labels = [0, 0, 1, 1, 2, 2]
    x = points(6)
    (expected,) = torch.autograd.grad(loop_loss(x, labels), x)
    single = x.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total = row_block_loss(single, *both_ways(labels), None, 1.0, block=12)
        (gradient,) = torch.autograd.grad(total, single)
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-4, atol=1e-5)


def test_of_a_large_batch_nothing_larger_than_embeddings_and_pairs_is_kept_for_the_gradient():
    count = 4096
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = (torch.arange(count) // 4).tolist()
    first, second = both_ways(labels)
    largest = 0

    def look(tensor):
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, lambda tensor: tensor):
        row_block_loss(x, first, second, None, 1.0).backward()
    assert 0 < largest <= count * 4  # the embeddings, or the list of pairs
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("offset", [0, 300, 1e4])
@pytest.mark.parametrize("rows", [3, 100])
def test_neither_a_common_offset_nor_near_duplicates_turn_the_gradient(offset, rows):
    labels = [0, 0, 1, 1, 2, 2, 3]
    x = points(7, dim=32).detach() + offset
    x[1] = x[0]
    x[1, 0] += 1e-2
    x[4] = x[2] + 1e-3 * points(1, dim=32, seed=2).detach()[0]
    x[5] = x[3]
    x = x.float().requires_grad_()
    y = x.detach().double().requires_grad_()
    found = row_block_loss(x, *both_ways(labels), None, 1.0, block=7 * rows)
    found.backward()
    first, second = both_ways(labels)
    distances = torch.stack([torch.stack([safe_norm(a - b) for b in y]) for a in y])
    negative = torch.tensor(labels)[:, None] != torch.tensor(labels)
    hardness = (1 - distances).masked_fill(~negative, -torch.inf).logsumexp(dim=1)
    violations = torch.logaddexp(hardness[first], hardness[second]) + distances[first, second]
    expected = violations.clamp_min(0).square().sum() / (2 * len(first))
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert (x.grad - y.grad).norm() < 1e-4 * y.grad.norm()


def safe_norm(difference):
    """The length, with gradient 0 at 0."""
    return difference.norm() if difference.any() else difference.sum() * 0


@pytest.mark.parametrize("rows", [3, 100])
def test_rows_that_are_all_the_same_have_a_gradient_of_zero(rows):
    x = torch.full((7, 3), 0.3, requires_grad=True)
    row_block_loss(x, *both_ways([0, 0, 1, 1, 2, 2, 3]), None, 1.0, block=7 * rows).backward()
    assert x.grad.eq(0).all()
