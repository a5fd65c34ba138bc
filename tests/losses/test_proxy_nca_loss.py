from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs
from metricforge.losses import ProxyNCALoss
from metricforge.testing import check_loss


def loss_and_batch(classes=5, dim=3, batch=7, seed=0, **options):
    torch.manual_seed(seed)
    loss = ProxyNCALoss(classes, dim, **options).double()
    return loss, torch.randn(batch, dim, dtype=torch.float64), torch.randint(classes, (batch,))


def by_loop(embeddings, labels, proxies, scale, include_positive):
    """The paper's formula, one image and one proxy at a time."""

    def unit(row):
        length = math.hypot(*row)
        return [value / length for value in row]

    points, centres = [[unit(row) for row in rows.double().tolist()] for rows in (embeddings, proxies)]
    total = 0.0
    for point, label in zip(points, labels.tolist(), strict=True):
        terms = [math.exp(-scale * math.dist(point, centre) ** 2) for centre in centres]
        below = sum(term for z, term in enumerate(terms) if include_positive or z != label)
        total -= math.log(terms[label] / below)
    return total / len(points)


def test_it_fulfils_the_contract():
    check_loss(ProxyNCALoss(num_classes=4, dim=8))
    check_loss(ProxyNCALoss(num_classes=4, dim=8, scale=9, include_positive=True))


def test_a_hand_worked_case():
    loss = LOSSES.build(dict(type="ProxyNCALoss", scale=0.5), num_classes=3, dim=2)
    with torch.no_grad():
        loss.proxies.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
    embeddings, labels = torch.tensor([[5.0, 0.0]]), torch.tensor([0])  # d: 0, 2, 4
    assert loss(embeddings, labels).total.item() == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))
    loss.include_positive = True
    assert loss(embeddings, labels).total.item() == pytest.approx(math.log(1 + math.exp(-1) + math.exp(-2)))


@pytest.mark.parametrize("include_positive", [False, True])
@pytest.mark.parametrize("scale", [0.3, 1.0, 9.0])
@pytest.mark.parametrize(("classes", "rows"), [(2, 7), (5, 7), (9, 64)])
def test_it_is_the_paper_s_formula(include_positive, scale, classes, rows):
    loss, embeddings, labels = loss_and_batch(classes, batch=rows, scale=scale, include_positive=include_positive)
    expected = by_loop(embeddings, labels, loss.proxies.detach(), scale, include_positive)
    assert loss(embeddings, labels).total.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("include_positive", [False, True])
def test_gradients_of_embeddings_and_proxies_agree_with_finite_differences(include_positive):
    loss, embeddings, labels = loss_and_batch(4, 3, 5, scale=2.0, include_positive=include_positive)

    def total(x, proxies):
        return torch.func.functional_call(loss, {"proxies": proxies}, (x, labels)).total

    assert torch.autograd.gradcheck(total, (embeddings.requires_grad_(), loss.proxies.detach().requires_grad_()))


@pytest.mark.parametrize("include_positive", [False, True])
def test_an_empty_batch_gives_zero(include_positive):
    loss, embeddings, labels = loss_and_batch(batch=0, include_positive=include_positive)
    total = loss(embeddings.requires_grad_(), labels).total
    total.backward()
    assert total.item() == 0
    assert loss.proxies.grad.eq(0).all()


def test_one_image_learns_from_all_proxies():
    loss, embeddings, labels = loss_and_batch(batch=1)
    loss(embeddings, labels).total.backward()
    assert loss.proxies.grad.ne(0).any(dim=1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    torch.manual_seed(0)
    loss, embeddings, labels = ProxyNCALoss(5, 64, scale=9), torch.randn(12, 64).to(dtype), torch.randint(5, (12,))
    with torch.autocast("cpu", torch.bfloat16):
        total = loss(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(by_loop(embeddings, labels, loss.proxies.detach(), 9, False), rel=1e-5)


def test_a_nan_embedding_is_not_hidden():
    loss, embeddings, labels = loss_and_batch()
    embeddings[2] = torch.nan
    assert loss(embeddings, labels).total.isnan()


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(num_classes=1, dim=2), "num_classes must be a whole number >= 2, got 1"),
        (dict(num_classes=2, dim=0), "dim must be a whole number >= 1, got 0"),
        (dict(num_classes=2, dim=2, scale=0), "scale must be a number > 0, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ProxyNCALoss(**arguments)
    loss = ProxyNCALoss(3, 2)
    with pytest.raises(ValueError, match=r"label 3 is outside 0\.\.2 \(num_classes=3\)"):
        loss(torch.zeros(2, 2), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"embeddings must be \(B, 2\), as dim=2 says, got shape \(2, 4\)"):
        loss(torch.zeros(2, 4), torch.tensor([0, 1]))
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts no tuples, got Pairs"):
        loss(torch.zeros(2, 2), torch.tensor([0, 1]), Pairs(rows, rows + 1, rows.bool()))


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_the_order_does_not_matter_and_duplicates_are_finite(seed, picks, data):
    loss, embeddings, _ = loss_and_batch(4, 3, 4, seed)
    embeddings = embeddings[picks].requires_grad_()
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=len(picks), max_size=len(picks))))
    total = loss(embeddings, labels).total
    total.backward()
    order = torch.tensor(data.draw(st.permutations(range(len(picks)))))
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()
    assert loss(embeddings.detach()[order], labels[order]).total.item() == pytest.approx(total.item(), rel=1e-9)
