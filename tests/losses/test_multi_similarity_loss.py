from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, DirectedPairs, Pairs, Triplets
from metricforge.losses import MultiSimilarityLoss
from metricforge.miners import MultiSimilarityMiner
from metricforge.similarities import CosineSimilarity
from metricforge.testing import check_loss


def batch(count: int, dim: int, classes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(classes, (count,), generator=generator)


def by_loop(embeddings, ordered_pairs, alpha=2.0, beta=50.0, base=0.5):
    """Eq. 15 of the paper, one anchor and one ordered pair (anchor, partner, positive) at a time: the two means."""
    points = embeddings.double().tolist()
    positive, negative = 0.0, 0.0
    for anchor, x in enumerate(points):
        sums = {True: 0.0, False: 0.0}
        for first, second, same in set(ordered_pairs):
            if first == anchor:
                y = points[second]
                cosine = sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
                sums[same] += math.exp(-alpha * (cosine - base) if same else beta * (cosine - base))
        positive += math.log1p(sums[True]) / alpha
        negative += math.log1p(sums[False]) / beta
    return positive / len(points), negative / len(points)


def every_pair(labels):
    count = len(labels)
    return [(i, j, bool(labels[i] == labels[j])) for i in range(count) for j in range(count) if i != j]


def as_pairs(pairs, kind=Pairs):
    return kind(*(torch.tensor(column) for column in zip(*pairs, strict=True)))


def test_it_fulfils_the_contract():
    check_loss(MultiSimilarityLoss())
    check_loss(MultiSimilarityLoss(alpha=0.5, beta=500, base=1))


def test_a_hand_worked_case():
    # cosines: 0-1 1 (positive), 0-2 and 1-2 0 (negative)
    embeddings, labels = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1])
    output = LOSSES.build(dict(type="MultiSimilarityLoss", alpha=2.0, beta=10.0, base=0.5))(embeddings, labels)
    assert output.parts["positive"].item() == pytest.approx(2 * math.log1p(math.exp(-1)) / 2 / 3)
    negative = (2 * math.log1p(math.exp(-5)) + math.log1p(2 * math.exp(-5))) / 10 / 3
    assert output.parts["negative"].item() == pytest.approx(negative)
    assert output.total.item() == pytest.approx(sum(part.item() for part in output.parts.values()))


@pytest.mark.parametrize(("alpha", "beta", "base"), [(2.0, 50.0, 0.5), (0.5, 1.0, -0.2), (3.0, 10.0, 1.0)])
@pytest.mark.parametrize("rows", [9, 64])
def test_it_is_the_paper_s_formula_over_every_pair_or_over_the_given_ones(alpha, beta, base, rows):
    embeddings, labels = batch(rows, 3, 3)
    pairs = every_pair(labels)
    listed = pairs[::4] + pairs[:2]
    both_ways = listed + [(j, i, same) for i, j, same in listed]
    loss = MultiSimilarityLoss(alpha, beta, base)
    for chosen, tuples in (
        (pairs, None),
        (both_ways, as_pairs(listed)),
        (listed, as_pairs(listed, DirectedPairs)),
    ):
        output = loss(embeddings, labels, tuples)
        positive, negative = by_loop(embeddings, chosen, alpha, beta, base)
        assert output.parts["positive"].item() == pytest.approx(positive, rel=1e-9)
        assert output.parts["negative"].item() == pytest.approx(negative, rel=1e-9)
        assert output.total.item() == pytest.approx(positive + negative, rel=1e-9)


def test_gradients_agree_with_finite_differences():
    embeddings, labels = batch(7, 3, 3)
    for tuples in (None, as_pairs(every_pair(labels)[::3], DirectedPairs)):
        total = lambda x, t=tuples: MultiSimilarityLoss(beta=5.0)(x, labels, t).total  # noqa: E731
        assert torch.autograd.gradcheck(total, (embeddings.requires_grad_(),))


def test_the_gradient_of_a_pair_is_the_paper_s_weight():
    # Eqs. 16 and 17: e^(-alpha (S - base)) / (1 + sum of them), of unit embeddings whose products are the cosines
    embeddings = torch.nn.functional.normalize(batch(6, 3, 3)[0]).requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    MultiSimilarityLoss(2.0, 9.0, 0.4)(embeddings, labels).total.backward()
    rows = embeddings.detach()
    cosines, same = rows @ rows.T, labels[:, None] == labels[None, :]
    pull = (-2 * (cosines - 0.4)).exp() * (same & ~torch.eye(6, dtype=torch.bool))
    push = (9 * (cosines - 0.4)).exp() * ~same
    weights = (push / (1 + push.sum(1, keepdim=True)) - pull / (1 + pull.sum(1, keepdim=True))) / 6
    gradient = (weights + weights.T) @ rows
    torch.testing.assert_close(embeddings.grad, gradient - (gradient * rows).sum(1, keepdim=True) * rows)


@pytest.mark.parametrize("mined", [False, True])
def test_it_is_pytorch_metric_learning_s(mined):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    embeddings, labels = batch(20, 4, 4)
    embeddings.requires_grad_()
    tuples = MultiSimilarityMiner(0.1)(embeddings, labels, CosineSimilarity()) if mined else None
    total = MultiSimilarityLoss()(embeddings, labels, tuples).total
    theirs = miners.MultiSimilarityMiner(0.1)(embeddings, labels) if mined else None
    expected = losses.MultiSimilarityLoss()(embeddings, labels, theirs)
    assert total.item() == pytest.approx(expected.item())
    gradients = [torch.autograd.grad(each, embeddings)[0] for each in (total, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("labels", [[4], []])
def test_a_batch_without_a_pair_gives_zero_and_zero_gradients(labels):
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    total = MultiSimilarityLoss()(embeddings, torch.tensor(labels, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize(("labels", "part"), [([3, 3, 3], "positive"), ([0, 1, 2], "negative")])
def test_pairs_of_one_kind_count_without_the_other(labels, part):
    embeddings = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    output = MultiSimilarityLoss()(embeddings, torch.tensor(labels))
    assert output.total.item() == pytest.approx(output.parts[part].item())
    assert torch.autograd.grad(output.total, embeddings)[0].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch(12, 64, 3)
    embeddings = (20 * embeddings).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        total = MultiSimilarityLoss()(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(sum(by_loop(embeddings, every_pair(labels))), rel=1e-4)


def test_a_nan_embedding_is_not_hidden():
    embeddings, labels = batch(6, 3, 2)
    embeddings[0] = torch.nan
    assert MultiSimilarityLoss()(embeddings, labels).total.isnan()


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(alpha=0), "alpha must be a number > 0, got 0"),
        (dict(beta=-1), "beta must be a number > 0, got -1"),
        (dict(base=1.5), "base must be a cosine, in -1..1, got 1.5"),
        (dict(base="0.5"), "base must be a cosine, in -1..1, got '0.5'"),
        (dict(base=float("nan")), "base must be a cosine"),
    ):
        with pytest.raises(ValueError, match=message):
            MultiSimilarityLoss(**arguments)
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts Pairs, got Triplets"):
        MultiSimilarityLoss()(torch.zeros(1, 2), rows, Triplets(rows, rows, rows))


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, data):
    rows, _ = batch(4, 3, 2, seed)
    embeddings = rows[picks].float().requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(picks), max_size=len(picks))))
    total = MultiSimilarityLoss()(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    again = MultiSimilarityLoss()(embeddings.detach()[order], labels[order]).total
    assert again.item() == pytest.approx(total.item(), rel=1e-5, abs=1e-6)
