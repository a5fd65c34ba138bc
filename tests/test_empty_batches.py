from __future__ import annotations

import copy
import re
import warnings

import pytest
import torch

from metricforge import LOSSES, EmptyBatchWarning
from metricforge.empty_batches import EmptyBatches
from metricforge.functional import has_positive_and_negative
from metricforge.losses import ContrastiveLoss, NPairsLoss, ProxyNCALoss, TripletLoss
from metricforge.structures import Triplets

FULL = torch.tensor([0, 0, 1, 1])
EMPTY = {"one class": torch.zeros(4, dtype=torch.int64), "all different": torch.arange(4)}


def counts(record: list[warnings.WarningMessage]) -> list[tuple[int, int]]:
    """Of each warning, how many batches were empty and how many there had been."""
    assert all(warning.category is EmptyBatchWarning for warning in record)
    found = [re.match(r"(\d+) of (\d+) batches", str(warning.message)) for warning in record]
    return [(int(match[1]), int(match[2])) for match in found if match]


@pytest.fixture
def record():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.mark.parametrize("batch", EMPTY)
@pytest.mark.parametrize(
    "name",
    ["MarginLoss", "NPairsLoss", "TripletLoss"],  # the others pull or push without the other, or have proxies
)
def test_every_loss_of_samples_is_zero_and_warns_once_in_ten_batches_without_a_positive_or_a_negative(
    name, batch, record
):
    loss = LOSSES.build(dict(type=name))
    for _ in range(9):
        embeddings = torch.randn(4, 3, requires_grad=True)
        total = loss(embeddings, EMPTY[batch]).total
        total.backward()
        assert total.item() == 0
        assert not embeddings.grad.any()
    assert counts(record) == [(1, 1)]
    assert name in str(record[0].message)


def test_a_loss_with_proxies_never_warns(record):
    loss = ProxyNCALoss(num_classes=4, dim=3)
    for labels in EMPTY.values():
        assert loss(torch.randn(4, 3), labels).total.item() != 0
    assert not record


def test_the_warnings_come_at_the_first_the_tenth_and_the_hundredth_and_count_all_batches(record):
    loss = TripletLoss()
    for _ in range(120):
        loss(torch.randn(4, 3), FULL)
        loss(torch.randn(4, 3), EMPTY["one class"])
    assert counts(record) == [(1, 2), (10, 20), (100, 200)]


def test_a_batch_whose_loss_is_zero_because_it_is_solved_is_not_counted(record):
    embeddings = torch.tensor([[0.0], [0.0], [9.0], [9.0]])
    assert ContrastiveLoss()(embeddings, FULL).total.item() == 0
    assert not record


def test_no_mined_tuples_count_as_nothing_to_compare(record):
    none = torch.zeros(0, dtype=torch.int64)
    assert TripletLoss()(torch.randn(4, 3), FULL, Triplets(none, none, none)).total.item() == 0
    assert counts(record) == [(1, 1)]


@pytest.mark.parametrize(("labels", "comparable"), [([0, 0, 1, 2], False), ([0, 0, 0, 1, 2, 2], True), ([1], False)])
def test_n_pairs_needs_two_classes_with_two_images(labels, comparable, record):
    labels = torch.tensor(labels)
    loss = NPairsLoss()
    assert bool(loss.can_compare(labels)) is comparable
    assert (loss(torch.randn(len(labels), 3), labels).total.item() != 0) is comparable
    assert len(record) == (not comparable)


def test_the_warning_points_at_the_line_that_called_the_loss(record):
    TripletLoss()(torch.randn(4, 3), EMPTY["one class"])
    assert record[0].filename == __file__


def test_a_count_that_is_looked_at_seldom_misses_nothing(record):
    batches = EmptyBatches("SomeLoss")
    for number in range(201):
        batches.add(torch.tensor(number % 2 == 0), look_every=100)  # the odd ones are empty
    assert counts(record) == [(50, 101), (100, 201)]


def test_a_copy_of_a_loss_counts_for_itself(record):
    loss = TripletLoss()
    loss(torch.randn(4, 3), EMPTY["one class"])
    clone = copy.deepcopy(loss)
    for _ in range(9):
        clone(torch.randn(4, 3), EMPTY["one class"])
    loss(torch.randn(4, 3), FULL)
    assert counts(record) == [(1, 1), (10, 10)]
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([], False), ([3], False), ([3, 3], False), ([1, 2], False), ([1, 2, 1], True), ([5, 5, 5, 0], True)],
)
def test_has_positive_and_negative_needs_both(labels, expected):
    assert bool(has_positive_and_negative(torch.tensor(labels, dtype=torch.int64))) is expected
