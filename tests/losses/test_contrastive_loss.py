from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs, Triplets
from metricforge.losses import ContrastiveLoss
from metricforge.testing import check_loss


def batch(count: int, dim: int, classes: int, seed: int = 0, scale: float = 0.4):
    generator = torch.Generator().manual_seed(seed)
    embeddings = scale * torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(classes, (count,), generator=generator)


def by_loop(embeddings, pairs, margin):
    """Eq. 1's terms, one pair at a time."""
    terms = []
    for i, j, positive in pairs:
        distance = math.dist(embeddings[i].tolist(), embeddings[j].tolist())
        terms.append(distance**2 if positive else max(margin - distance, 0) ** 2)
    return sum(terms) / len(terms)


def test_it_fulfils_the_contract():
    check_loss(ContrastiveLoss())


def test_a_hand_worked_case():
    embeddings = torch.tensor([[0.0], [0.5], [0.75]])  # D: 0-1 0.5 (positive), 0-2 0.75, 1-2 0.25 (negative)
    output = LOSSES.build(dict(type="ContrastiveLoss", margin=1.0))(embeddings, torch.tensor([0, 0, 1]))
    assert output.total.item() == pytest.approx((0.5**2 + 0.25**2 + 0.75**2) / 3)
    assert output.parts["positive"].item() == pytest.approx(0.25)
    assert output.parts["negative"].item() == pytest.approx((0.25**2 + 0.75**2) / 2)


@pytest.mark.parametrize("rows", [9, 64])
@pytest.mark.parametrize("margin", [0.3, 1.0, 5.0])
def test_without_tuples_it_is_the_mean_over_every_pair(margin, rows):
    embeddings, labels = batch(rows, 3, 3)
    pairs = [(i, j, bool(labels[i] == labels[j])) for i in range(rows) for j in range(i + 1, rows)]
    expected = by_loop(embeddings, pairs, margin)
    assert ContrastiveLoss(margin)(embeddings, labels).total.item() == pytest.approx(expected, rel=1e-10)


def test_with_pairs_it_is_the_mean_over_those_pairs():
    embeddings, labels = batch(6, 3, 2)
    rows = [(0, 1), (4, 2), (3, 5), (4, 2)]
    pairs = [(i, j, bool(labels[i] == labels[j])) for i, j in rows]
    first, second, positive = (torch.tensor(column) for column in zip(*pairs, strict=True))
    found = ContrastiveLoss()(embeddings, labels, Pairs(first, second, positive)).total.item()
    assert found == pytest.approx(by_loop(embeddings, pairs, 1.0), rel=1e-10)


def test_gradients_agree_with_finite_differences():
    embeddings, labels = batch(7, 3, 3)
    embeddings.requires_grad_()
    pairs = Pairs(torch.tensor([0, 1, 5]), torch.tensor([2, 3, 6]), torch.tensor([True, False, False]))
    for tuples in (None, pairs):
        assert torch.autograd.gradcheck(lambda x, t=tuples: ContrastiveLoss()(x, labels, t).total, (embeddings,))


@pytest.mark.parametrize("labels", [[4], []])
def test_a_batch_without_a_pair_gives_zero_and_zero_gradients(labels):
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    total = ContrastiveLoss()(embeddings, torch.tensor(labels, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


def test_positive_pairs_alone_still_count_if_a_miner_chose_them_from_a_batch_with_negatives():
    embeddings = torch.tensor([[0.0], [3.0], [9.0]])
    pair = Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([True]))
    assert ContrastiveLoss()(embeddings, torch.tensor([0, 0, 1]), pair).total.item() == pytest.approx(9)


def test_no_pairs_give_zero_and_zero_gradients():
    embeddings, labels = batch(6, 3, 2)
    embeddings.requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    total = ContrastiveLoss()(embeddings, labels, Pairs(none, none, none.bool())).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch(12, 64, 3)
    embeddings = (20 * embeddings).to(dtype)  # squared distances above 2,000: bfloat16 has three digits
    total = ContrastiveLoss()(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(ContrastiveLoss()(embeddings.double(), labels).total.item(), rel=1e-5)


def test_a_nan_embedding_is_not_hidden():
    embeddings, labels = batch(6, 3, 2)
    embeddings[0] = torch.nan
    assert ContrastiveLoss()(embeddings, labels).total.isnan()


def test_wrong_arguments_are_named():
    for margin in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="margin must be a number > 0"):
            ContrastiveLoss(margin)
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts Pairs, got Triplets"):
        ContrastiveLoss()(torch.zeros(1, 2), rows, Triplets(rows, rows, rows))
    with pytest.raises(ValueError, match=r"labels must be int64"):
        ContrastiveLoss()(torch.zeros(2, 2), rows)


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, data):
    rows, _ = batch(4, 3, 2, seed)
    embeddings = rows[picks].float().requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(picks), max_size=len(picks))))
    total = ContrastiveLoss()(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    again = ContrastiveLoss()(embeddings.detach()[order], labels[order]).total
    assert again.item() == pytest.approx(total.item(), rel=1e-5, abs=1e-6)


def test_images_of_one_class_pull_and_of_four_classes_push():
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [0.3, 0.4]], requires_grad=True)
    distances = torch.cdist(embeddings.detach().double(), embeddings.detach().double())
    pairs = distances[torch.triu_indices(4, 4, 1)[0], torch.triu_indices(4, 4, 1)[1]]  # (6,)
    loss = ContrastiveLoss(margin=1.0)
    pulled = loss(embeddings, torch.zeros(4, dtype=torch.int64)).total
    assert pulled.item() == pytest.approx(pairs.square().mean().item(), rel=1e-5)
    assert torch.autograd.grad(pulled, embeddings)[0].any()
    pushed = loss(embeddings, torch.arange(4)).total
    assert pushed.item() == pytest.approx((1 - pairs).clamp_min(0).square().mean().item(), rel=1e-5)
    assert torch.autograd.grad(pushed, embeddings)[0].any()
