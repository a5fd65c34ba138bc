from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge import LOSSES, Pairs
from metricforge.losses import ProxyAnchorLoss
from metricforge.testing import check_loss, run_in_processes


def loss_and_batch(classes=5, dim=3, batch=7, seed=0, **options):
    torch.manual_seed(seed)
    loss = ProxyAnchorLoss(classes, dim, **options).double()
    return loss, torch.randn(batch, dim, dtype=torch.float64), torch.randint(classes, (batch,))


def by_loop(embeddings, labels, proxies, alpha=32.0, margin=0.1):
    """Eq. 4 of the paper, one proxy and one image at a time: the two means."""

    def unit(row):
        length = math.hypot(*row)
        return [value / length for value in row]

    points, centres = [[unit(row) for row in rows.double().tolist()] for rows in (embeddings, proxies)]
    pull, push, present = 0.0, 0.0, set(labels.tolist())
    for number, centre in enumerate(centres):
        cosines = [sum(a * b for a, b in zip(point, centre, strict=True)) for point in points]
        own = [s for s, label in zip(cosines, labels.tolist(), strict=True) if label == number]
        others = [s for s, label in zip(cosines, labels.tolist(), strict=True) if label != number]
        pull += math.log1p(sum(math.exp(-alpha * (s - margin)) for s in own))
        push += math.log1p(sum(math.exp(alpha * (s + margin)) for s in others))
    return pull / len(present), push / len(centres)


def test_it_fulfils_the_contract():
    check_loss(ProxyAnchorLoss(num_classes=4, dim=8))
    check_loss(ProxyAnchorLoss(num_classes=4, dim=8, margin=0, alpha=200, shard=True))


def test_a_hand_worked_case():
    loss = LOSSES.build(dict(type="ProxyAnchorLoss", margin=0.0, alpha=1.0), num_classes=2, dim=2)
    with torch.no_grad():
        loss.proxies.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
    output = loss(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 0]))  # cosines: 1 and 0; 0 and 1
    assert output.parts["positive"].item() == pytest.approx(math.log(1 + math.exp(-1) + 1))
    assert output.parts["negative"].item() == pytest.approx(math.log(1 + 1 + math.e) / 2)
    assert output.total.item() == pytest.approx(sum(part.item() for part in output.parts.values()))


@pytest.mark.parametrize(("alpha", "margin"), [(1.0, 0.0), (32.0, 0.1), (5.0, 0.7)])
@pytest.mark.parametrize(("classes", "rows"), [(2, 7), (5, 7), (9, 64)])
def test_it_is_the_paper_s_formula(classes, rows, alpha, margin):
    loss, embeddings, labels = loss_and_batch(classes, batch=rows, alpha=alpha, margin=margin)
    output = loss(embeddings, labels)
    pull, push = by_loop(embeddings, labels, loss.proxies.detach(), alpha, margin)
    assert output.parts["positive"].item() == pytest.approx(pull, rel=1e-9)
    assert output.parts["negative"].item() == pytest.approx(push, rel=1e-9)
    assert output.total.item() == pytest.approx(pull + push, rel=1e-9)


def test_gradients_agree_with_finite_differences():
    loss, embeddings, labels = loss_and_batch(4, 3, 6, alpha=3.0)

    def total(x, proxies):
        return torch.func.functional_call(loss, {"proxies": proxies}, (x, labels)).total

    assert torch.autograd.gradcheck(total, (embeddings.requires_grad_(), loss.proxies.detach().requires_grad_()))


def test_the_gradient_of_a_cosine_is_the_paper_s():
    # Eq. 6: h(x) / (1 + sum of h over the class or the others), divided by the number of proxies
    loss, _, _ = loss_and_batch(3, 3, alpha=7.0, margin=0.2)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(3))  # of unit embeddings the cosines are the coordinates
    embeddings = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64)).requires_grad_()
    labels = torch.tensor([0, 0, 2, 2, 2])
    loss(embeddings, labels).total.backward()
    cosines, own = embeddings.detach(), torch.nn.functional.one_hot(labels, 3).bool()
    pull, push = (-7 * (cosines - 0.2)).exp() * own, (7 * (cosines + 0.2)).exp() * ~own
    of_cosines = -7 * pull / (1 + pull.sum(0)) / 2 + 7 * push / (1 + push.sum(0)) / 3
    across = of_cosines - (of_cosines * cosines).sum(1, keepdim=True) * cosines  # of the normalisation
    torch.testing.assert_close(embeddings.grad, across)


def test_it_is_pytorch_metric_learning_s():
    theirs = pytest.importorskip("pytorch_metric_learning.losses").ProxyAnchorLoss(6, 4).double()
    loss, embeddings, labels = loss_and_batch(6, 4, 9)
    theirs.proxies.data.copy_(loss.proxies.data)
    for total in (loss(embeddings.requires_grad_(), labels).total, theirs(embeddings, labels)):
        total.backward()
    assert loss(embeddings, labels).total.item() == pytest.approx(theirs(embeddings, labels).item())
    torch.testing.assert_close(loss.proxies.grad, theirs.proxies.grad)


@pytest.mark.parametrize("labels", [[3], [1, 1, 1], []])
def test_one_image_one_class_or_none_learn_from_all_proxies(labels):
    loss, embeddings, labels = loss_and_batch(batch=len(labels))[0], torch.randn(len(labels), 3), torch.tensor(labels)
    total = loss(embeddings.double().requires_grad_(), labels.long()).total
    total.backward()
    if len(labels):
        assert total.item() == pytest.approx(sum(by_loop(embeddings, labels, loss.proxies.detach())))
        assert loss.proxies.grad.any(dim=1).all()
    else:
        assert total.item() == 0
        assert not loss.proxies.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    torch.manual_seed(0)
    loss, embeddings, labels = ProxyAnchorLoss(5, 64), torch.randn(12, 64).to(dtype), torch.randint(5, (12,))
    with torch.autocast("cpu", torch.bfloat16):
        total = loss(embeddings, labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(sum(by_loop(embeddings, labels, loss.proxies.detach())), rel=1e-5)


def test_no_alpha_overflows():
    loss, embeddings, labels = loss_and_batch(alpha=1e6)
    total = loss.float()(embeddings.float().requires_grad_(), labels).total
    total.backward()
    assert total.isfinite()
    assert loss.proxies.grad.isfinite().all()


def test_a_nan_embedding_is_not_hidden():
    loss, embeddings, labels = loss_and_batch()
    embeddings[2] = torch.nan
    assert loss(embeddings, labels).total.isnan()


def test_proxies_begin_as_in_the_released_code():
    torch.manual_seed(0)
    assert ProxyAnchorLoss(200, 500).proxies.std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.01)


def test_predictions_are_scaled_cosines():
    loss, embeddings, _ = loss_and_batch(alpha=7.0)
    expected = 7 * torch.nn.functional.cosine_similarity(embeddings[:, None], loss.proxies[None], dim=2)
    torch.testing.assert_close(loss.predict(embeddings), expected)


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(num_classes=1, dim=2), "num_classes must be a whole number >= 2, got 1"),
        (dict(num_classes=2, dim=0), "dim must be a whole number >= 1, got 0"),
        (dict(num_classes=2, dim=2, alpha=0), "alpha must be a number > 0, got 0"),
        (dict(num_classes=2, dim=2, margin=-1), "margin must be a number >= 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            ProxyAnchorLoss(**arguments)
    loss = ProxyAnchorLoss(3, 2)
    with pytest.raises(ValueError, match=r"label 3 is outside 0\.\.2 \(num_classes=3\)"):
        loss(torch.zeros(2, 2), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"embeddings must be \(B, 2\), as dim=2 says, got shape \(2, 4\)"):
        loss(torch.zeros(2, 4), torch.tensor([0, 1]))
    rows = torch.tensor([0])
    with pytest.raises(TypeError, match="accepts no tuples, got Pairs"):
        loss(torch.zeros(2, 2), torch.tensor([0, 1]), Pairs(rows, rows + 1, rows.bool()))


def measured(shard=True):
    """Total, parts, gradients and proxies of this process's share, 11 classes among the processes."""
    torch.manual_seed(0)
    loss = ProxyAnchorLoss(11, 5, alpha=8.0, shard=shard).double()
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(9, 5, dtype=torch.float64, generator=generator).requires_grad_()
    output = loss(embeddings, torch.randint(11, (9,), generator=generator))
    output.total.backward()
    common = (output.total.detach(), *output.parts.values(), embeddings.grad, loss.predict(embeddings).detach())
    return common, (loss.proxies.detach(), loss.proxies.grad)


@pytest.mark.parametrize("count", [2, 3])
def test_sharded_over_processes_it_is_that_of_one_process(count):
    common, rows = measured(shard=False)
    results = run_in_processes(measured, count)
    for found, _ in results:
        for one, wanted in zip(found, common, strict=True):
            torch.testing.assert_close(one, wanted, rtol=1e-11, atol=1e-12)
    for place, wanted in enumerate(rows):
        torch.testing.assert_close(torch.cat([shards[place] for _, shards in results]), wanted, rtol=1e-11, atol=1e-12)


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
