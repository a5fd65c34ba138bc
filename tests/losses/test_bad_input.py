from __future__ import annotations

import math

import pytest
import torch

from metricforge import LOSSES, Pairs, Quadruplets, Triplets, losses
from metricforge.functional import all_pairs, all_quadruplets, all_triplets

EMBEDDINGS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1])


def build(name, **arguments):
    return LOSSES.build(dict(type=name, **arguments), num_classes=2, dim=3)


@pytest.mark.parametrize("labels", [LABELS.float(), LABELS.bool(), LABELS.int(), LABELS[:3], LABELS[:, None]])
@pytest.mark.parametrize("name", losses.__all__)
def test_every_loss_refuses_labels_that_are_not_one_int64_an_embedding(name, labels):
    with pytest.raises(ValueError, match=r"labels must be int64 of shape \(4,\).*got .*use labels.long"):
        build(name)(EMBEDDINGS, labels)


@pytest.mark.parametrize("name", losses.__all__)
def test_every_loss_refuses_embeddings_that_are_not_a_float_matrix(name):
    for embeddings in (EMBEDDINGS.long(), EMBEDDINGS[0], EMBEDDINGS[None]):
        with pytest.raises(ValueError, match=r"embeddings must be a float tensor \(B, D\), got"):
            build(name)(embeddings, LABELS)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "0.1", None, True])
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("ContrastiveLoss", "margin"),
        ("TripletLoss", "margin"),
        ("MarginLoss", "margin"),
        ("MarginLoss", "beta"),
        ("MarginLoss", "nu"),
        ("NPairsLoss", "l2_weight"),
        ("BinomialDevianceLoss", "alpha"),
        ("BinomialDevianceLoss", "negative_cost"),
        ("ProxyNCALoss", "scale"),
        ("ProxyAnchorLoss", "margin"),
        ("ProxyAnchorLoss", "alpha"),
        ("MultiSimilarityLoss", "alpha"),
        ("MultiSimilarityLoss", "beta"),
    ],
)
def test_a_number_out_of_range_is_named_with_what_is_allowed(name, argument, wrong):
    with pytest.raises(ValueError, match=rf"{argument} must be a number >=? 0, got {wrong!r}"):
        LOSSES.get(name)(**{argument: wrong}, **(dict(num_classes=2, dim=3) if "Proxy" in name else {}))


REFUSED = [
    pytest.param(name, list_tuples(LABELS), id=f"{name}-{kind.__name__}")
    for name in losses.__all__
    for kind, list_tuples in ((Pairs, all_pairs), (Triplets, all_triplets), (Quadruplets, all_quadruplets))
    if kind not in LOSSES.get(name).accepts
]


@pytest.mark.parametrize(("name", "tuples"), REFUSED)
def test_every_loss_refuses_tuples_that_it_does_not_accept(name, tuples):
    with pytest.raises(TypeError, match=f"this loss accepts .*, got {type(tuples).__name__}; choose a miner"):
        build(name)(EMBEDDINGS, LABELS, tuples)


def test_the_error_about_tuples_says_what_is_accepted():
    with pytest.raises(TypeError, match="this loss accepts Triplets, got Pairs; choose a miner that yields"):
        build("TripletLoss")(EMBEDDINGS, LABELS, Pairs(LABELS, LABELS, LABELS.bool()))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_proxy_is_named(label):
    with pytest.raises(ValueError, match=rf"label {label} is outside 0\.\.1"):
        build("ProxyNCALoss")(EMBEDDINGS, torch.tensor([0, 0, 1, label]))
