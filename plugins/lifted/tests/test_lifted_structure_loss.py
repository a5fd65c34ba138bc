import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metricforge_lifted import LiftedStructureLoss, LiftedStructureMiner
from torch.autograd import gradcheck, gradgradcheck

from metricforge import LOSSES, EmptyBatchWarning, Pairs, Triplets
from metricforge.testing import check_loss


def batch(labels, dim=5, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = scale * torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.tensor(labels)


def pairs(positive, negative):
    first, second = zip(*(positive + negative), strict=True)
    flags = [True] * len(positive) + [False] * len(negative)
    return Pairs(torch.tensor(first), torch.tensor(second), torch.tensor(flags))


def every_pair(labels):
    """Positive and negative pairs (i < j) of a list of labels."""
    both = [(i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))]
    return [p for p in both if labels[p[0]] == labels[p[1]]], [p for p in both if labels[p[0]] != labels[p[1]]]


def pull_of(i, points, negative, margin):
    """margin - D_ik for every negative k of i, as (k, value)."""
    others = [b if a == i else a for a, b in negative if i in (a, b)]
    return [(k, margin - math.dist(points[i], points[k])) for k in others]


def loop_loss(embeddings, positive, negative, margin, smooth):
    """Eqs. 3 and 4 as printed, one positive pair at a time, in Python floats."""
    points = embeddings.detach().tolist()
    total = 0.0
    for i, j in positive:
        pull = [value for end in (i, j) for _, value in pull_of(end, points, negative, margin)]
        if pull:
            hardness = math.log(sum(math.exp(value) for value in pull)) if smooth else max(pull)
            total += max(0.0, hardness + math.dist(points[i], points[j])) ** 2
    return total / (2 * len(positive))


def algorithm_1(embeddings, positive, negative, margin):
    """The gradient of Eq. 4 in closed form: Algorithm 1 with the distance gradients of Eqs. 5-7."""
    points = embeddings.detach()
    gradient = torch.zeros_like(points)

    def add(i, j, distance_gradient):
        direction = (points[i] - points[j]) / math.dist(points[i].tolist(), points[j].tolist())
        gradient[i] += distance_gradient * direction
        gradient[j] -= distance_gradient * direction

    for i, j in positive:
        pull = [(end, k, value) for end in (i, j) for k, value in pull_of(end, points.tolist(), negative, margin)]
        denominator = sum(math.exp(value) for _, _, value in pull)
        violation = math.log(denominator) + math.dist(points[i].tolist(), points[j].tolist())
        if violation > 0:
            add(i, j, violation / len(positive))
            for end, k, value in pull:
                add(end, k, -violation / len(positive) * math.exp(value) / denominator)
    return gradient


def test_the_contract_holds():
    check_loss(LiftedStructureLoss())
    check_loss(LiftedStructureLoss(smooth=False))


def test_a_hand_worked_batch_gives_the_printed_formulas():
    embeddings, labels = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])
    # D_01 = 1, and with margin 2 the negatives give 2 - 3 = -1 and 2 - 2 = 0.
    hard = LiftedStructureLoss(margin=2.0, smooth=False)(embeddings, labels).total
    assert hard.item() == pytest.approx((0 + 1) ** 2 / 2)
    smooth = LiftedStructureLoss(margin=2.0)(embeddings, labels).total
    assert smooth.item() == pytest.approx((math.log(math.exp(-1) + 1) + 1) ** 2 / 2)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 3, 1, 0, 7], [0, 0, 0, 0, 1]])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_the_loss_equals_a_loop_over_pairs(labels, smooth, scale):
    embeddings, tensor = batch(labels, scale=scale)
    expected = loop_loss(embeddings, *every_pair(labels), margin=1.0, smooth=smooth)
    assert LiftedStructureLoss(smooth=smooth)(embeddings, tensor).total.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 3, 1, 0, 7], [0, 0, 0, 0, 1]])
@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0])
def test_the_gradient_equals_algorithm_1(labels, scale):
    embeddings, tensor = batch(labels, scale=scale)
    LiftedStructureLoss(margin=1.0)(embeddings, tensor).total.backward()
    expected = algorithm_1(embeddings, *every_pair(labels), margin=1.0)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(embeddings.grad, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("smooth", [True, False])
def test_gradients_agree_with_finite_differences(smooth):
    embeddings, labels = batch([0, 0, 1, 1, 2, 3])
    loss = LiftedStructureLoss(smooth=smooth)
    assert gradcheck(lambda e: loss(e, labels).total, (embeddings,))


@pytest.mark.parametrize("smooth", [True, False])
def test_gradients_can_be_differentiated_again(smooth):
    embeddings, labels = batch([0, 0, 1, 1, 2, 3])
    loss = LiftedStructureLoss(smooth=smooth)
    assert gradgradcheck(lambda e: loss(e, labels).total, (embeddings,))


@pytest.mark.parametrize("smooth", [True, False])
def test_a_class_of_half_the_batch_counts_every_pair(smooth):
    labels = [0] * 24 + [1 + image // 4 for image in range(24)]
    embeddings, tensor = batch(labels)
    expected = loop_loss(embeddings, *every_pair(labels), margin=1.0, smooth=smooth)
    assert LiftedStructureLoss(smooth=smooth)(embeddings, tensor).total.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("smooth", [True, False])
def test_an_embedding_that_is_not_a_number_is_not_hidden(smooth):
    embeddings, labels = batch([0, 0, 1, 1])
    spoilt = embeddings.detach().index_fill(0, torch.tensor([3]), math.nan)
    assert LiftedStructureLoss(smooth=smooth)(spoilt, labels).total.isnan()


@pytest.mark.parametrize("smooth", [True, False])
def test_listed_pairs_are_the_only_ones_that_count_and_a_negative_counts_for_both_of_its_ends(smooth):
    embeddings, labels = batch([0, 0, 0, 1, 1, 2])
    positive, negative = [(0, 1), (3, 4)], [(0, 3), (2, 5), (5, 4)]  # (2, 5) touches no listed positive pair
    total = LiftedStructureLoss(smooth=smooth)(embeddings, labels, pairs(positive, negative)).total
    assert total.item() == pytest.approx(loop_loss(embeddings, positive, negative, margin=1.0, smooth=smooth))


def test_a_pair_listed_twice_or_the_other_way_round_counts_once():
    embeddings, labels = batch([0, 0, 1, 1])
    loss = LiftedStructureLoss()
    once = loss(embeddings, labels, pairs([(0, 1), (2, 3)], [(0, 2), (1, 3)])).total
    often = loss(embeddings, labels, pairs([(0, 1), (1, 0), (2, 3)], [(2, 0), (0, 2), (1, 3)])).total
    assert often.item() == pytest.approx(once.item())


@pytest.mark.parametrize("smooth", [True, False])
def test_a_positive_pair_without_negatives_adds_zero_but_is_counted(smooth):
    embeddings, labels = batch([0, 0, 1, 1, 2])
    loss = LiftedStructureLoss(smooth=smooth)
    alone = loss(embeddings, labels, pairs([(0, 1)], [(0, 4)])).total
    with_idle = loss(embeddings, labels, pairs([(0, 1), (2, 3)], [(0, 4)])).total
    assert alone.item() > 0
    assert with_idle.item() == pytest.approx(alone.item() / 2)
    with_idle.backward()
    assert embeddings.grad.isfinite().all()
    assert (embeddings.grad[2:4] == 0).all()


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("labels", [[0], [5, 5, 5, 5], [0, 1, 2, 3]], ids=["one image", "one class", "all different"])
def test_a_batch_without_positives_or_negatives_gives_zero_and_zero_gradients(labels, smooth):
    embeddings, tensor = batch(labels)
    with pytest.warns(EmptyBatchWarning, match="1 of 1 batches so far gave LiftedStructureLoss nothing"):
        total = LiftedStructureLoss(smooth=smooth)(embeddings, tensor).total
    total.backward()
    assert total.item() == 0
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("smooth", [True, False])
def test_duplicate_embeddings_give_finite_gradients(smooth):
    embeddings = torch.ones(6, 4).index_fill(0, torch.tensor([4, 5]), 2.0).requires_grad_()
    total = LiftedStructureLoss(smooth=smooth)(embeddings, torch.tensor([0, 0, 1, 1, 0, 1])).total
    total.backward()
    assert total.item() > 0
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("smooth", [True, False])
def test_distances_of_a_million_neither_overflow_nor_vanish(smooth):
    embeddings = torch.tensor([[0.0], [1e6], [2e6], [5e6]], requires_grad=True)
    total = LiftedStructureLoss(smooth=smooth)(embeddings, torch.tensor([0, 1, 0, 1])).total
    total.backward()
    # The closest negatives are 1e6 away from positives 2e6 and 4e6 apart: J is 1e6 and 3e6, up to the margin.
    assert total.item() == pytest.approx((1e12 + 9e12) / 4, rel=1e-4)
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype):
    embeddings, labels = batch([0, 0, 1, 1, 2, 2], scale=3.0)
    half = embeddings.detach().to(dtype).requires_grad_()
    total = LiftedStructureLoss()(half, labels).total
    total.backward()
    expected = loop_loss(half, *every_pair(labels.tolist()), margin=1.0, smooth=True)  # of the rounded embeddings
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert half.grad.dtype == dtype
    assert half.grad.isfinite().all()


def test_autocast_changes_nothing():
    embeddings, labels = batch([0, 0, 1, 1, 2, 2])
    single = embeddings.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = LiftedStructureLoss()(single, labels).total
    assert under_autocast.dtype == torch.float32
    expected = loop_loss(embeddings, *every_pair(labels.tolist()), margin=1.0, smooth=True)
    assert under_autocast.item() == pytest.approx(expected, rel=1e-5)


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 99), smooth=st.booleans())
def test_the_order_of_the_batch_does_not_matter_and_the_miner_with_all_negatives_changes_nothing(labels, seed, smooth):
    embeddings, tensor = batch(labels, seed=seed)
    loss = LiftedStructureLoss(smooth=smooth)
    total = loss(embeddings, tensor).total.item()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    assert loss(embeddings[order], tensor[order]).total.item() == pytest.approx(total)
    mined = LiftedStructureMiner()(embeddings, tensor, None)
    assert loss(embeddings, tensor, mined).total.item() == pytest.approx(total)


@pytest.mark.parametrize("smooth", [True, False])
def test_a_batch_of_no_image_gives_zero(smooth):
    embeddings = torch.zeros(0, 3, requires_grad=True)
    total = LiftedStructureLoss(smooth=smooth)(embeddings, torch.zeros(0, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0
    assert embeddings.grad.shape == (0, 3)


def test_it_is_built_by_name():
    embeddings, labels = batch([0, 0, 1])
    total = LOSSES.build(dict(type="LiftedStructureLoss", margin=0.5))(embeddings, labels).total
    assert total.item() == pytest.approx(loop_loss(embeddings, [(0, 1)], [(0, 2), (1, 2)], margin=0.5, smooth=True))


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match="margin must be a number >= 0, got -1"):
        LiftedStructureLoss(margin=-1)


def test_triplets_are_refused():
    embeddings, labels = batch([0, 0, 1])
    one = torch.tensor([0])
    with pytest.raises(ValueError, match="takes Pairs, got Triplets"):
        LiftedStructureLoss()(embeddings, labels, Triplets(one, one + 1, one + 2))


SIXTY_FOUR_ROWS = {
    "classes of 1 to 20 images": [0] * 20 + [1] * 15 + [2] * 12 + [3] * 10 + [4, 4, 5, 6, 7, 8, 9],
    "one class": [0] * 64,
    "one image a class": list(range(64)),
}


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("labels", SIXTY_FOUR_ROWS.values(), ids=SIXTY_FOUR_ROWS)
@pytest.mark.filterwarnings("ignore::metricforge.EmptyBatchWarning")
def test_64_rows_some_of_them_duplicates_equal_the_loop(labels, smooth):
    embeddings, tensor = batch(labels)
    points = embeddings.detach().clone()
    points[[1, 40, 63]] = points[[0, 2, 62]]  # of one class and of two
    points.requires_grad_()
    positive, negative = every_pair(labels)
    expected = loop_loss(points, positive, negative, margin=1.0, smooth=smooth) if positive else 0.0
    total = LiftedStructureLoss(smooth=smooth)(points, tensor).total
    assert total.item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.grad(total, points)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("smooth", [True, False])
def test_half_precision_is_near_the_loop_of_the_same_numbers(dtype, smooth):
    labels = SIXTY_FOUR_ROWS["classes of 1 to 20 images"]
    embeddings = batch(labels)[0].detach().to(dtype)
    expected = loop_loss(embeddings.double(), *every_pair(labels), margin=1.0, smooth=smooth)
    total = LiftedStructureLoss(smooth=smooth)(embeddings, torch.tensor(labels)).total
    assert total.item() == pytest.approx(expected, rel=10 * torch.finfo(dtype).eps)


@pytest.mark.filterwarnings("ignore::metricforge.EmptyBatchWarning")
def test_one_row_is_no_pair():
    embeddings, labels = batch([3])
    total = LiftedStructureLoss()(embeddings, labels).total
    assert total.item() == 0
    assert torch.equal(torch.autograd.grad(total, embeddings)[0], torch.zeros_like(embeddings))
