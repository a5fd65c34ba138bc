from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs, Quadruplets, Triplets
from metricforge.functional import all_pairs, all_triplets
from metricforge.losses import MarginLoss
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


def pairs_of_triplets(triplets):
    return [pair for a, p, n in triplets for pair in ((a, p, True), (a, n, False))]


def hinges_by_loop(embeddings, pairs, margin, boundary_of):
    """One (anchor, partner, whether of one class) at a time; the boundary is the anchor's."""
    points = embeddings.double().tolist()
    distances = [math.dist(points[i], points[j]) - boundary_of[i] for i, j, _ in pairs]
    signs = [1 if positive else -1 for *_, positive in pairs]
    return [max(margin + sign * distance, 0) for sign, distance in zip(signs, distances, strict=True)]


def test_it_fulfils_the_contract():
    check_loss(MarginLoss())
    check_loss(MarginLoss(boundary="fixed", average="all"))
    check_loss(MarginLoss(boundary="per_class", nu=0.1, num_classes=4))


def test_a_hand_worked_case():
    # D: 0-1 1.5 (positive), 0-2 1, 1-2 0.5 (negative). Hinges of anchors 0 and 1, whose triplets are (0,1,2), (1,0,2):
    # positive 0.2 + 1.5 - 1.2 = 0.5 each; negative 0.2 + 1.2 - 1 = 0.4 and 0.2 + 1.2 - 0.5 = 0.9.
    embeddings, labels = torch.tensor([[0.0], [1.5], [1.0]]), torch.tensor([0, 0, 1])
    output = LOSSES.build(dict(type="MarginLoss", margin=0.2, beta=1.2))(embeddings, labels)
    assert output.total.item() == pytest.approx((0.5 + 0.4 + 0.5 + 0.9) / 4)
    assert output.parts["active"].item() == 1
    assert output.parts["beta"].item() == pytest.approx(1.2)


@pytest.mark.parametrize("margin", [0.0, 0.2, 2.0])
@pytest.mark.parametrize("average", ["active", "all"])
@pytest.mark.parametrize("way", ["nothing", "triplets", "pairs"])
@pytest.mark.parametrize("rows", [11, 64])
def test_it_is_the_mean_hinge_over_the_pairs_with_the_anchor_s_boundary_and_nu_times_their_mean(
    margin, average, way, rows
):
    embeddings, labels = batch(rows, 3, 3)
    triplets = every_triplet(labels)
    tuples = None
    pairs = pairs_of_triplets(triplets)
    if way == "triplets":
        listed = triplets[::5] + triplets[:3]
        tuples = Triplets(*(torch.tensor(column) for column in zip(*listed, strict=True)))
        pairs = pairs_of_triplets(listed)
    elif way == "pairs":
        tuples = all_pairs(labels)
        columns = zip(tuples.first.tolist(), tuples.second.tolist(), tuples.positive.tolist(), strict=True)
        pairs = [pair for i, j, same in columns for pair in ((i, j, same), (j, i, same))]
    loss = MarginLoss(margin, boundary="per_class", nu=0.3, average=average, num_classes=3).double()
    with torch.no_grad():
        loss.beta.copy_(torch.tensor([0.7, 1.2, 2.0]))
    boundary_of = loss.beta.detach()[labels].tolist()
    hinges = hinges_by_loop(embeddings, pairs, margin, boundary_of)
    active = sum(hinge > 0 for hinge in hinges)
    mean_boundary = sum(boundary_of[i] for i, *_ in pairs) / len(pairs)
    output = loss(embeddings, labels, tuples)
    expected = sum(hinges) / (active if average == "active" else len(hinges)) + 0.3 * mean_boundary
    assert output.total.item() == pytest.approx(expected, rel=1e-6)
    assert output.parts["active"].item() == pytest.approx(active / len(hinges))
    assert output.parts["beta"].item() == pytest.approx(mean_boundary)


def test_nothing_given_and_all_triplets_given_are_the_same():
    embeddings, labels = batch(12, 3, 4)
    loss = MarginLoss().double()
    listed = loss(embeddings, labels, all_triplets(labels)).total.item()
    assert loss(embeddings, labels).total.item() == pytest.approx(listed, rel=1e-10)


@pytest.mark.parametrize("boundary", ["shared", "per_class"])
@pytest.mark.parametrize("way", ["nothing", "triplets", "pairs"])
def test_gradients_of_embeddings_and_boundary_agree_with_finite_differences(boundary, way):
    embeddings, labels = batch(8, 3, 3)
    loss = MarginLoss(0.3, boundary=boundary, nu=0.2, num_classes=3).double()
    tuples = {"nothing": None, "triplets": all_triplets(labels), "pairs": all_pairs(labels)}[way]

    def total(x, beta):
        return torch.func.functional_call(loss, {"beta": beta}, (x, labels, tuples)).total

    assert torch.autograd.gradcheck(total, (embeddings.requires_grad_(), loss.beta.detach().requires_grad_()))


def test_only_a_learned_boundary_is_a_parameter_and_a_fixed_one_is_in_the_checkpoint_too():
    shapes = {
        kind: [tuple(value.shape) for value in MarginLoss(boundary=kind, num_classes=5).parameters()]
        for kind in ("fixed", "shared", "per_class")
    }
    assert shapes == {"fixed": [], "shared": [()], "per_class": [(5,)]}
    assert list(MarginLoss(boundary="fixed").state_dict()) == ["beta"]


@pytest.mark.parametrize("list_tuples", [None, all_triplets])
@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2], [4], []])
def test_a_batch_without_a_positive_or_a_negative_gives_zero_and_zero_gradients(labels, list_tuples):
    labels = torch.tensor(labels, dtype=torch.int64)
    embeddings = torch.randn(len(labels), 4).requires_grad_()
    loss = MarginLoss(nu=0.5)
    total = loss(embeddings, labels, list_tuples(labels) if list_tuples else None).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.eq(0).all()
    assert loss.beta.grad.eq(0).all()


def test_no_tuples_give_zero_and_zero_gradients():
    embeddings, labels = batch(6, 3, 2)
    embeddings.requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    for tuples in (Pairs(none, none, none.bool()), Triplets(none, none, none)):
        total = MarginLoss(nu=0.5)(embeddings, labels, tuples).total
        (gradient,) = torch.autograd.grad(total, embeddings)
        assert total.item() == 0
        assert gradient.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch(12, 64, 3)
    embeddings = (20 * embeddings).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        total = MarginLoss()(embeddings, labels).total
    assert total.dtype == torch.float32
    hinges = hinges_by_loop(embeddings, pairs_of_triplets(every_triplet(labels)), 0.2, [1.2] * 12)
    assert total.item() == pytest.approx(sum(hinges) / sum(hinge > 0 for hinge in hinges), rel=1e-4)


def test_a_nan_embedding_is_not_hidden():
    embeddings, labels = batch(6, 3, 2)
    embeddings[0] = torch.nan
    assert MarginLoss()(embeddings, labels).total.isnan()


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(margin=-1), "margin must be a number >= 0, got -1"),
        (dict(beta=0), "beta must be a number > 0, got 0"),
        (dict(boundary="learned"), 'boundary must be "fixed", "shared" or "per_class", got \'learned\''),
        (dict(average="mean"), 'average must be "active"'),
        (dict(nu=0.1, boundary="fixed"), r"nu \(0.1\) has no effect on a fixed boundary"),
        (dict(boundary="per_class"), 'boundary="per_class" needs num_classes'),
        (dict(boundary="per_class", num_classes=0), "num_classes must be a whole number >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            MarginLoss(**arguments)
    loss = MarginLoss(boundary="per_class", num_classes=2)
    with pytest.raises(ValueError, match=r"label 2 is outside 0\.\.1 \(num_classes=2\)"):
        loss(torch.zeros(2, 2), torch.tensor([0, 2]))
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts Pairs or Triplets, got Quadruplets"):
        MarginLoss()(torch.zeros(1, 2), rows, Quadruplets(rows, rows, rows, rows))


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, data):
    rows, _ = batch(4, 3, 2, seed)
    embeddings = rows[picks].float().requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(picks), max_size=len(picks))))
    loss = MarginLoss()
    total = loss(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    again = loss(embeddings.detach()[order], labels[order]).total
    assert again.item() == pytest.approx(total.item(), rel=1e-4, abs=1e-5)
