from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs, Triplets
from metricforge.losses import TripletLoss
from metricforge.testing import check_loss


def batch(count: int, dim: int, classes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(classes, (count,), generator=generator)


def every_triplet(labels):
    rows, labels = range(len(labels)), labels.tolist()
    return [
        (a, p, n)
        for a in rows
        for p in rows
        for n in rows
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def hinges_by_loop(embeddings, triplets, margin, squared):
    points = embeddings.double().tolist()
    power = 2 if squared else 1
    return [
        max(math.dist(points[a], points[p]) ** power - math.dist(points[a], points[n]) ** power + margin, 0)
        for a, p, n in triplets
    ]


def test_it_fulfils_the_contract():
    check_loss(TripletLoss())
    check_loss(TripletLoss(squared=True, average="active"))


def test_a_hand_worked_case():
    # D: 0-1 2 (positive), 0-2 3, 1-2 1 (negative). Anchor 0: [2 - 3 + 1.5]_+ = 0.5, anchor 1: [2 - 1 + 1.5]_+ = 2.5.
    embeddings, labels = torch.tensor([[0.0], [2.0], [3.0]]), torch.tensor([0, 0, 1])
    output = LOSSES.build(dict(type="TripletLoss", margin=1.5))(embeddings, labels)
    assert output.total.item() == pytest.approx((0.5 + 2.5) / 2)
    assert output.parts["active"].item() == 1
    # Squared: [4 - 9 + 1.5]_+ = 0 and [4 - 1 + 1.5]_+ = 4.5.
    for average, expected in (("all", 2.25), ("active", 4.5)):
        output = TripletLoss(margin=1.5, squared=True, average=average)(embeddings, labels)
        assert output.total.item() == pytest.approx(expected)
        assert output.parts["active"].item() == 0.5


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
@pytest.mark.parametrize(("mined", "rows", "classes"), [(False, 11, 3), (True, 11, 3), (False, 64, 16)])
def test_it_is_the_mean_hinge_over_every_triplet_or_over_the_given_ones(squared, margin, mined, rows, classes):
    embeddings, labels = batch(rows, 3, classes)
    triplets = every_triplet(labels)
    tuples = None
    if mined:
        triplets = triplets[::5] + triplets[:3]
        tuples = Triplets(*(torch.tensor(column) for column in zip(*triplets, strict=True)))
    hinges = hinges_by_loop(embeddings, triplets, margin, squared)
    active = sum(hinge > 0 for hinge in hinges)
    assert active > 0
    for average, count in (("all", len(hinges)), ("active", active)):
        output = TripletLoss(margin, squared, average)(embeddings, labels, tuples)
        assert output.total.item() == pytest.approx(sum(hinges) / count, rel=1e-9)
        assert output.parts["active"].item() == pytest.approx(active / len(hinges))


def test_float32_keeps_its_precision_on_long_embeddings():
    embeddings, labels = batch(40, 16, 8)
    embeddings = (20 * embeddings).float()
    hinges = hinges_by_loop(embeddings, every_triplet(labels), 0.2, squared=False)
    found = TripletLoss()(embeddings, labels).total.item()
    assert found == pytest.approx(sum(hinges) / len(hinges), rel=1e-5)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("average", ["all", "active"])
def test_gradients_agree_with_finite_differences(squared, average):
    embeddings, labels = batch(8, 3, 3)
    embeddings.requires_grad_()
    mined = Triplets(*(torch.tensor(column) for column in zip(*every_triplet(labels)[::3], strict=True)))
    loss = TripletLoss(margin=0.7, squared=squared, average=average)
    for tuples in (None, mined):
        assert torch.autograd.gradcheck(lambda x, t=tuples: loss(x, labels, t).total, (embeddings,))


@pytest.mark.parametrize("average", ["all", "active"])
def test_well_separated_classes_give_exactly_zero_and_zero_gradients(average):
    embeddings = torch.tensor([[0.0, 0.1], [0.0, 0.0], [50.0, 0.1], [50.0, 0.3]], requires_grad=True)
    output = TripletLoss(average=average)(embeddings, torch.tensor([0, 0, 1, 1]))
    output.total.backward()
    assert output.total.item() == 0
    assert output.parts["active"].item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("average", ["all", "active"])
@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2], [4], []])
def test_a_batch_without_a_positive_or_a_negative_gives_zero_and_zero_gradients(labels, average):
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    total = TripletLoss(average=average)(embeddings, torch.tensor(labels, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("average", ["all", "active"])
def test_no_triplets_give_zero_and_zero_gradients(average):
    embeddings, labels = batch(6, 3, 2)
    embeddings.requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    total = TripletLoss(average=average)(embeddings, labels, Triplets(none, none, none)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch(12, 64, 3)
    embeddings = (20 * embeddings).to(dtype)
    total = TripletLoss()(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(TripletLoss()(embeddings.double(), labels).total.item(), rel=1e-4)


def test_a_nan_embedding_is_not_hidden():
    embeddings, labels = batch(6, 3, 2)
    embeddings[0] = torch.nan
    assert TripletLoss()(embeddings, labels).total.isnan()


def test_all_triplets_never_need_a_tensor_larger_than_the_batch_squared():
    embeddings, labels = batch(64, 4, 4)
    largest = 0

    class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            found = func(*args, **(kwargs or {}))
            for value in found if isinstance(found, (tuple, list)) else [found]:
                largest = max(largest, value.numel() if isinstance(value, torch.Tensor) else 0)
            return found

    with LargestTensor():
        TripletLoss()(embeddings.requires_grad_(), labels).total.backward()
    assert largest == 64 * 64


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"margin must be a number >= 0, got -0\.1"):
        TripletLoss(margin=-0.1)
    with pytest.raises(ValueError, match=r'average must be "all" .* or "active" .* got \'mean\''):
        TripletLoss(average="mean")
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts Triplets, got Pairs"):
        TripletLoss()(torch.zeros(1, 2), rows, Pairs(rows, rows, rows.bool()))
    with pytest.raises(ValueError, match=r"embeddings must be a float tensor"):
        TripletLoss()(torch.zeros(1), rows)


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.booleans(), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, squared, data):
    rows, _ = batch(4, 3, 2, seed)
    embeddings = rows[picks].float().requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(picks), max_size=len(picks))))
    loss = TripletLoss(squared=squared)
    total = loss(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    again = loss(embeddings.detach()[order], labels[order]).total
    assert again.item() == pytest.approx(total.item(), rel=1e-4, abs=1e-5)
