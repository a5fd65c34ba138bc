from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs, Triplets
from metricforge.losses import BinomialDevianceLoss
from metricforge.testing import check_loss


def batch(count: int, dim: int, classes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(classes, (count,), generator=generator)


def by_loop(embeddings, pairs, alpha, beta, cost):
    """The mean over the positive pairs and that over the negative ones, one pair at a time."""
    points = embeddings.double().tolist()
    terms = {True: [], False: []}
    for i, j, positive in pairs:
        x, y = points[i], points[j]
        cosine = sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
        terms[positive].append(math.log1p(math.exp(alpha * (cosine - beta) * (-1 if positive else cost))))
    return [sum(values) / max(len(values), 1) for values in (terms[True], terms[False])]


def every_pair(labels):
    count = len(labels)
    return [(i, j, bool(labels[i] == labels[j])) for i in range(count) for j in range(i + 1, count)]


def as_pairs(pairs):
    return Pairs(*(torch.tensor(column) for column in zip(*pairs, strict=True)))


def test_it_fulfils_the_contract():
    check_loss(BinomialDevianceLoss())


def test_a_hand_worked_case():
    # cosines: 0-1 1 (positive), 0-2 and 1-2 0 (negative)
    embeddings, labels = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1])
    loss = LOSSES.build(dict(type="BinomialDevianceLoss", alpha=2.0, beta=0.5, negative_cost=10.0))
    output = loss(embeddings, labels)
    assert output.parts["positive"].item() == pytest.approx(math.log1p(math.exp(-1)))
    assert output.parts["negative"].item() == pytest.approx(math.log1p(math.exp(-10)), rel=1e-4)
    assert output.total.item() == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(-10)))


@pytest.mark.parametrize(("alpha", "beta", "cost"), [(2.0, 0.5, 25.0), (0.5, -0.2, 1.0), (3.0, 0.0, 10.0)])
@pytest.mark.parametrize("rows", [9, 64])
def test_it_is_the_two_means_over_every_pair_or_over_the_given_ones(alpha, beta, cost, rows):
    embeddings, labels = batch(rows, 3, 3)
    pairs = every_pair(labels)
    listed = pairs[::4] + pairs[:2]
    loss = BinomialDevianceLoss(alpha, beta, cost)
    for chosen, tuples in ((pairs, None), (listed, as_pairs(listed))):
        output = loss(embeddings, labels, tuples)
        positive, negative = by_loop(embeddings, chosen, alpha, beta, cost)
        assert output.parts["positive"].item() == pytest.approx(positive, rel=1e-7)
        assert output.parts["negative"].item() == pytest.approx(negative, rel=1e-7)
        assert output.total.item() == pytest.approx(positive + negative, rel=1e-7)


def test_each_type_of_pair_weighs_the_same_however_many_there_are():
    embeddings, labels = batch(12, 3, 6)
    pairs = every_pair(labels)
    positives = [pair for pair in pairs if pair[2]]
    loss = BinomialDevianceLoss()
    more = loss(embeddings, labels, as_pairs(pairs + 3 * positives)).total.item()
    assert more == pytest.approx(loss(embeddings, labels).total.item())


def test_gradients_agree_with_finite_differences():
    embeddings, labels = batch(7, 3, 3)
    embeddings.requires_grad_()
    for tuples in (None, as_pairs(every_pair(labels)[::3])):
        total = lambda x, t=tuples: BinomialDevianceLoss(negative_cost=3.0)(x, labels, t).total  # noqa: E731
        assert torch.autograd.gradcheck(total, (embeddings,))


@pytest.mark.parametrize("labels", [[4], []])
def test_a_batch_without_a_pair_gives_zero_and_zero_gradients(labels):
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    total = BinomialDevianceLoss()(embeddings, torch.tensor(labels, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


def test_no_pairs_give_zero_and_zero_gradients():
    embeddings, labels = batch(6, 3, 2)
    embeddings.requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    total = BinomialDevianceLoss()(embeddings, labels, Pairs(none, none, none.bool())).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch(12, 64, 3)
    embeddings = (20 * embeddings).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        total = BinomialDevianceLoss()(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(sum(by_loop(embeddings, every_pair(labels), 2.0, 0.5, 25.0)), rel=1e-4)


def test_a_nan_embedding_is_not_hidden():
    embeddings, labels = batch(6, 3, 2)
    embeddings[0] = torch.nan
    assert BinomialDevianceLoss()(embeddings, labels).total.isnan()


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(beta="0.5"), "beta must be a cosine, above -1 and below 1, got '0.5'"),
        (dict(alpha=0), "alpha must be a number > 0, got 0"),
        (dict(negative_cost=-1), "negative_cost must be a number > 0, got -1"),
        (dict(beta=1), "beta must be a cosine, above -1 and below 1, got 1"),
        (dict(beta=float("nan")), "beta must be a cosine"),
    ):
        with pytest.raises(ValueError, match=message):
            BinomialDevianceLoss(**arguments)
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts Pairs, got Triplets"):
        BinomialDevianceLoss()(torch.zeros(1, 2), rows, Triplets(rows, rows, rows))


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, data):
    rows, _ = batch(4, 3, 2, seed)
    embeddings = rows[picks].float().requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(picks), max_size=len(picks))))
    total = BinomialDevianceLoss()(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    again = BinomialDevianceLoss()(embeddings.detach()[order], labels[order]).total
    assert again.item() == pytest.approx(total.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("labels", "part"), [([3, 3, 3], "positive"), ([0, 1, 2], "negative")])
def test_pairs_of_one_kind_count_without_the_other(labels, part):
    embeddings = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    output = BinomialDevianceLoss()(embeddings, torch.tensor(labels))
    assert output.total.item() == pytest.approx(output.parts[part].item())
    assert torch.autograd.grad(output.total, embeddings)[0].any()
