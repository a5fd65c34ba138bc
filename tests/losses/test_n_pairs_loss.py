from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import LOSSES, Triplets
from metricforge.losses import NPairsLoss
from metricforge.testing import check_loss


def rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loop(embeddings, pairs, l2_weight=0.0):
    """The paper's N-pair-mc, one anchor at a time."""
    points = embeddings.double().tolist()

    def dot(i, j):
        return sum(a * b for a, b in zip(points[i], points[j], strict=True))

    terms = [math.log(1 + sum(math.exp(dot(a, q) - dot(a, p)) for _, q in pairs if q != p)) for a, p in pairs]
    lengths = [dot(i, i) for pair in pairs for i in pair]
    return sum(terms) / len(terms) + l2_weight * sum(lengths) / len(lengths)


def test_it_fulfils_the_contract():
    check_loss(NPairsLoss())
    check_loss(NPairsLoss(l2_weight=0.1))


def test_a_hand_worked_case():
    # f1.g1 = 2, f1.g2 = 1; f2.g2 = 3, f2.g1 = 0
    embeddings, labels = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 3.0]]), torch.tensor([0, 0, 1, 1])
    output = LOSSES.build(dict(type="NPairsLoss", pick="first", l2_weight=0.5))(embeddings, labels)
    expected = (math.log(1 + math.exp(1 - 2)) + math.log(1 + math.exp(0 - 3))) / 2
    assert output.parts["squared_norm"].item() == pytest.approx((1 + 4 + 1 + 10) / 4)
    assert output.parts["pairs"].item() == 2
    assert output.total.item() == pytest.approx(expected + 0.5 * 4)


@pytest.mark.parametrize("l2_weight", [0.0, 0.3])
def test_first_takes_the_first_two_rows_of_each_class_that_has_two(l2_weight):
    labels = torch.tensor([7, 2, 5, 2, 7, 9, 5, 2, 7])  # class 9 has one image
    embeddings = rows(9, 3)
    pairs = [(1, 3), (2, 6), (0, 4)]
    found = NPairsLoss(l2_weight, pick="first")(embeddings, labels).total.item()
    assert found == pytest.approx(by_loop(embeddings, pairs, l2_weight), rel=1e-10)


def test_random_draws_every_ordered_pair_of_a_class_equally_often():
    labels = torch.tensor([1, 4, 1, 4, 1, 8])
    torch.manual_seed(0)
    drawn = Counter()
    for _ in range(3000):
        anchor, positive = NPairsLoss()._pick(labels)
        assert labels[anchor].tolist() == labels[positive].tolist() == [1, 4]
        drawn[int(anchor[0]), int(positive[0])] += 1
    assert set(drawn) == {(i, j) for i in (0, 2, 4) for j in (0, 2, 4) if i != j}
    assert all(abs(count - 500) < 5 * (500 * 5 / 6) ** 0.5 for count in drawn.values())  # five standard deviations


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 4), max_size=12))
@example(0, [number % 20 for number in range(64)])
def test_random_s_value_is_the_paper_s_of_the_pairs_that_were_picked(seed, labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    embeddings = rows(len(labels), 3, seed)
    torch.manual_seed(seed)
    anchor, positive = NPairsLoss()._pick(labels)
    assert sorted(labels[anchor].tolist()) == sorted(c for c, n in Counter(labels.tolist()).items() if n > 1)
    assert (anchor != positive).all()
    assert (labels[anchor] == labels[positive]).all()
    torch.manual_seed(seed)
    total = NPairsLoss()(embeddings, labels).total.item()
    pairs = list(zip(anchor.tolist(), positive.tolist(), strict=True))
    assert total == pytest.approx(by_loop(embeddings, pairs) if len(pairs) > 1 else 0, rel=1e-9)


def test_gradients_agree_with_finite_differences():
    embeddings, labels = rows(8, 3).requires_grad_(), torch.tensor([0, 1, 2, 3]).repeat(2)
    loss = NPairsLoss(0.2, "first")
    assert torch.autograd.gradcheck(lambda x: loss(x, labels).total, (embeddings,))


@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2], [0, 0, 1], [4], []])
def test_fewer_than_two_classes_with_two_images_give_zero_and_zero_gradients(labels):
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    total = NPairsLoss()(embeddings, torch.tensor(labels, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings = (3 * rows(12, 64)).to(dtype)
    labels = torch.arange(6).repeat(2)
    for context in (torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False)):
        with context:
            total = NPairsLoss(0.1, "first")(embeddings, labels).total
        assert total.dtype == torch.float32
        pairs = [(i, i + 6) for i in range(6)]
        assert total.item() == pytest.approx(by_loop(embeddings, pairs, 0.1), rel=1e-5)


def test_duplicates_cost_the_logarithm_of_the_number_of_classes():
    embeddings = torch.ones(6, 4, requires_grad=True)
    total = NPairsLoss()(embeddings, torch.tensor([0, 1, 2, 0, 1, 2])).total
    total.backward()
    assert total.item() == pytest.approx(math.log(3))
    assert embeddings.grad.isfinite().all()


def test_a_nan_embedding_is_not_hidden():
    embeddings = rows(4, 3)
    embeddings[0] = torch.nan
    assert NPairsLoss()(embeddings, torch.tensor([0, 0, 1, 1])).total.isnan()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"l2_weight must be a number >= 0, got -1"):
        NPairsLoss(-1)
    with pytest.raises(ValueError, match=r'pick must be "random" .* got \'last\''):
        NPairsLoss(pick="last")
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(TypeError, match="accepts no tuples, got Triplets"):
        NPairsLoss()(torch.zeros(2, 2), torch.tensor([0, 1]), Triplets(none, none, none))
    with pytest.raises(ValueError, match="labels must be int64"):
        NPairsLoss()(torch.zeros(2, 2), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 1, 2], [0, 0, 0]])
def test_lengths_count_where_no_anchor_has_a_negative(labels):
    embeddings = torch.tensor([[3.0, 4.0], [3.0, 4.0], [4.0, 3.0]], requires_grad=True)
    total = NPairsLoss(l2_weight=0.5)(embeddings, torch.tensor(labels)).total
    assert total.item() == pytest.approx(0.5 * 25)
    assert torch.autograd.grad(total, embeddings)[0].any()


@pytest.mark.parametrize("offset", [0, 300, 3000])
def test_an_offset_that_all_embeddings_share_costs_neither_value_nor_gradient_their_digits(offset):
    embeddings = (rows(16, 32) / 30 + offset / 30).float()
    labels = torch.arange(8).repeat_interleave(2)
    found, expected = embeddings.clone().requires_grad_(), embeddings.double().requires_grad_()
    loss = NPairsLoss(pick="first")
    totals = [loss(one, labels).total for one in (found, expected)]
    for total in totals:
        total.backward()
    assert totals[0].item() == pytest.approx(totals[1].item(), rel=1e-4)
    assert float((found.grad.double() - expected.grad).norm() / expected.grad.norm()) < 1e-4
