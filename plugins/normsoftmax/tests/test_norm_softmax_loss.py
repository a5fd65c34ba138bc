import math
import warnings

import pytest
import torch
from metricforge_normsoftmax import NormSoftmaxLoss
from torch.autograd import gradcheck

from metricforge import LOSSES, Triplets
from metricforge.testing import check_loss


def loss_and_batch(num_classes=4, dim=5, batch=6, temperature=0.05, seed=0):
    torch.manual_seed(seed)
    loss = NormSoftmaxLoss(num_classes, dim, temperature).double()
    return loss, torch.randn(batch, dim, dtype=torch.float64), torch.randint(num_classes, (batch,))


def loop_loss(embeddings, proxies, labels, temperature):
    """The mean of -log(exp(cos(x, p_y) / T) / sum_c exp(cos(x, p_c) / T)), in Python floats."""

    def cosine(x, p):
        return sum(a * b for a, b in zip(x, p, strict=True)) / (math.hypot(*x) * math.hypot(*p))

    total = 0.0
    for x, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        logits = [cosine(x, p) / temperature for p in proxies.tolist()]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    return total / len(labels)


def test_the_contract_holds():
    check_loss(NormSoftmaxLoss(num_classes=4, dim=8), dim=8, num_classes=4)


def test_a_hand_worked_batch():
    loss = NormSoftmaxLoss(num_classes=2, dim=2, temperature=0.5)
    loss.proxies.data = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    # Embedding (2, 0) has cosine 1 to its proxy and 0 to the other: logits 2 and 0.
    total = loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).total
    assert total.item() == pytest.approx(math.log(1 + math.exp(-2)))


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
def test_the_loss_equals_a_loop_over_images_and_proxies(temperature):
    loss, embeddings, labels = loss_and_batch(temperature=temperature)
    expected = loop_loss(embeddings, loss.proxies, labels, temperature)
    assert loss(embeddings, labels).total.item() == pytest.approx(expected, rel=1e-10)


def test_gradients_of_embeddings_and_proxies_agree_with_finite_differences():
    loss, embeddings, labels = loss_and_batch(temperature=0.5)

    def total(embeddings, proxies):
        return torch.func.functional_call(loss, {"proxies": proxies}, (embeddings, labels)).total

    assert gradcheck(total, (embeddings.requires_grad_(), loss.proxies.detach().clone().requires_grad_()))


def test_lengths_of_embeddings_and_proxies_do_not_matter():
    loss, embeddings, labels = loss_and_batch()
    total = loss(embeddings, labels).total.item()
    loss.proxies.data *= torch.tensor([[0.01], [1.0], [5.0], [100.0]])
    assert loss(embeddings * 7, labels).total.item() == pytest.approx(total)


def test_predict_gives_cosines_divided_by_the_temperature():
    loss = NormSoftmaxLoss(num_classes=3, dim=2, temperature=0.1)
    loss.proxies.data = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    logits = loss.predict(torch.tensor([[5.0, 0.0], [1.0, 1.0]]))
    expected = torch.tensor([[10.0, 0.0, -10.0], [50**0.5, 50**0.5, -(50**0.5)]])
    torch.testing.assert_close(logits, expected)


def test_a_batch_of_one_class_and_one_of_one_image_train():
    loss, embeddings, _ = loss_and_batch()
    for count in (1, 6):
        labels = torch.full((count,), 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # for a loss with proxies such a batch is not an empty one
            total = loss(embeddings[:count], labels).total
        assert total.item() == pytest.approx(loop_loss(embeddings[:count], loss.proxies, labels, 0.05))
        gradient = torch.autograd.grad(total, loss.proxies)[0]
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_proxies_start_uniform_within_one_over_the_root_of_dim():
    torch.manual_seed(0)
    proxies = NormSoftmaxLoss(num_classes=500, dim=16).proxies.detach()
    assert 0.245 < proxies.max().item() <= 0.25
    assert -0.25 <= proxies.min().item() < -0.245
    assert proxies.std().item() == pytest.approx(0.5 / 12**0.5, rel=0.03)  # of a uniform distribution of width 0.5


def test_zero_and_duplicate_embeddings_give_finite_gradients():
    loss = NormSoftmaxLoss(num_classes=3, dim=4)
    embeddings = torch.tensor([[0.0] * 4, [1.0] * 4, [1.0] * 4], requires_grad=True)
    loss(embeddings, torch.tensor([0, 1, 2])).total.backward()
    assert embeddings.grad.isfinite().all()
    assert loss.proxies.grad.isfinite().all()


def test_bfloat16_and_autocast_are_computed_in_float32():
    loss, embeddings, labels = loss_and_batch()
    loss, half = loss.float(), embeddings.bfloat16()
    expected = loop_loss(half, loss.proxies, labels, 0.05)  # of the rounded embeddings
    assert loss(half, labels).total.item() == pytest.approx(expected, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = loss(half.float(), labels).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_a_model_in_bfloat16_trains_in_float32_arithmetic():
    loss, embeddings, labels = loss_and_batch()
    loss = loss.bfloat16()
    total = loss(embeddings.bfloat16(), labels).total
    total.backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(loop_loss(embeddings.bfloat16(), loss.proxies, labels, 0.05), rel=1e-5)
    assert loss.proxies.grad.isfinite().all()


@pytest.mark.parametrize("label", [4, -1, -100])
def test_a_label_out_of_range_is_named(label):
    loss, embeddings, labels = loss_and_batch()
    labels[3] = label
    with pytest.raises(ValueError, match=rf"label {label} is outside 0..3 \(num_classes=4\)"):
        loss(embeddings, labels)


@pytest.mark.parametrize("class_ratio", [None, 0.5])
def test_a_batch_of_no_image_gives_zero(class_ratio):
    embeddings = torch.zeros(0, 5, requires_grad=True)
    loss = NormSoftmaxLoss(num_classes=4, dim=5, class_ratio=class_ratio)
    total = loss(embeddings, torch.zeros(0, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0


def test_tuples_are_refused_because_they_would_have_no_effect():
    loss, embeddings, labels = loss_and_batch()
    rows = torch.arange(2)
    with pytest.raises(TypeError, match="this loss accepts no tuples, got Triplets"):
        loss(embeddings, labels, Triplets(rows, rows, rows))


def test_embeddings_of_another_size_are_refused():
    loss, embeddings, labels = loss_and_batch()
    with pytest.raises(ValueError, match=r"embeddings must be \(B, 5\).*got shape \(6, 4\)"):
        loss(embeddings[:, :4], labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_classes=1, dim=8), "num_classes must be a whole number >= 2, got 1"),
        (dict(num_classes=2, dim=0), "dim must be a whole number >= 1, got 0"),
        (dict(num_classes=2, dim=8, temperature=0), "temperature must be a number > 0, got 0"),
        (dict(num_classes=2, dim=8, temperature=1e-50), "temperature must be a number >= 1.17.*e-38, got 1e-50"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NormSoftmaxLoss(**arguments)


def test_a_config_may_leave_out_what_the_framework_knows():
    loss = LOSSES.build(dict(type="NormSoftmaxLoss", temperature=0.1), num_classes=7, dim=3)
    assert loss.proxies.shape == (7, 3)
    assert loss.temperature == 0.1


@pytest.mark.parametrize("labels", ["any", "one class", "one image a class"])
def test_64_rows_some_of_them_duplicates_equal_the_loop(labels):
    loss, embeddings, drawn = loss_and_batch(num_classes=64, batch=64, temperature=0.1)
    embeddings[[1, 40]] = embeddings[[0, 2]]
    chosen = {"any": drawn % 7, "one class": torch.full_like(drawn, 5), "one image a class": torch.arange(64)}[labels]
    expected = loop_loss(embeddings, loss.proxies, chosen, 0.1)
    total = loss(embeddings.requires_grad_(), chosen).total
    assert total.item() == pytest.approx(expected, rel=1e-10)
    # d/dx of each row sums to nothing along the row itself: only its direction counts
    gradient = torch.autograd.grad(total, embeddings)[0]
    torch.testing.assert_close((gradient * embeddings).sum(dim=1), torch.zeros(64).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 64])
def test_half_precision_is_near_the_loop_of_the_same_numbers(dtype, rows):
    loss, embeddings, labels = loss_and_batch(batch=rows, temperature=0.5)
    loss, embeddings = loss.float(), embeddings.to(dtype)
    expected = loop_loss(embeddings.double(), loss.proxies, labels, 0.5)
    assert loss(embeddings, labels).total.item() == pytest.approx(expected, rel=10 * torch.finfo(dtype).eps)
