from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import DistanceWeightedTripletMiner
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.testing import check_miner


def rows_of(triplets):
    return list(zip(triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist(), strict=True))


def probabilities_by_loop(embeddings, labels, anchor, cutoff, upper):
    """The paper's 1 / q, as plain powers, for each negative of an anchor; evenly if none is below ``upper``."""
    points = [[value / math.hypot(*row) for value in row] for row in embeddings.double().tolist()]
    dim = len(points[0])
    weights = {}
    for n in range(len(points)):
        distance = math.dist(points[anchor], points[n])
        if labels[n] != labels[anchor]:
            clipped = max(distance, cutoff)
            density = clipped ** (dim - 2) * (1 - clipped**2 / 4) ** ((dim - 3) / 2)
            weights[n] = 1 / density if distance < upper else 0.0
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    return {n: weight / sum(weights.values()) for n, weight in weights.items()}


def draw(miner, embeddings, labels, times):
    """How often each negative was drawn for row 0 and its positive."""
    torch.manual_seed(0)
    found = Counter()
    for _ in range(times):
        triplets = miner(embeddings, labels, EuclideanSimilarity())
        found.update(n for a, _, n in rows_of(triplets) if a == 0)
    return found


def test_it_fulfils_the_contract():
    for dim in (1, 2, 8, 600):
        check_miner(DistanceWeightedTripletMiner(), dim=dim)
    check_miner(DistanceWeightedTripletMiner(upper=2.0), similarity=CosineSimilarity())


@pytest.mark.parametrize(("dim", "upper"), [(2, 1.4), (3, 1.4), (6, 1.4), (6, 2.0), (6, 0.6)])
def test_negatives_are_drawn_as_often_as_the_paper_s_density_says(dim, upper):
    generator = torch.Generator().manual_seed(dim)
    embeddings = 3 * torch.randn(9, dim, generator=generator)
    embeddings[2] = embeddings[0] * 0.5 + 0.2  # a negative near the anchor
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4])
    miner = MINERS.build(dict(type="DistanceWeightedTripletMiner", cutoff=0.5, upper=upper))
    times = 1000
    found = draw(miner, embeddings, labels, times)
    expected = probabilities_by_loop(embeddings, labels.tolist(), 0, 0.5, upper)
    assert sum(found.values()) == times
    for n, probability in expected.items():
        deviation = math.sqrt(times * probability * (1 - probability))
        assert abs(found[n] - times * probability) <= 5 * deviation + 1e-6


def test_logarithms_of_the_weights_agree_with_the_formula_where_powers_overflow():
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(6, 512, generator=generator, dtype=torch.float64))
    unit[1] = torch.nn.functional.normalize(unit[0] + 0.02 * unit[2], dim=0)  # nearer than the cutoff
    negatives = ~torch.eye(6, dtype=torch.bool)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-2)):
        found = DistanceWeightedTripletMiner(upper=2.0)._log_weights(unit.to(dtype), negatives)
        assert found[0, 0] == -torch.inf
        for n in range(1, 6):
            distance = max(math.dist(unit[0].tolist(), unit[n].tolist()), 0.5)
            expected = -510 * math.log(distance) - 509 / 2 * math.log(1 - distance**2 / 4)
            assert found[0, n].item() == pytest.approx(expected, abs=tolerance)


def test_negatives_nearer_than_the_cutoff_are_all_as_likely():
    angles = torch.tensor([0.0, 0.05, 0.1, 0.45])  # on a circle; the last three within 0.5 of the first
    embeddings = torch.stack([angles.cos(), angles.sin(), torch.zeros(4), torch.zeros(4), torch.zeros(4)], dim=1)
    log_weights = DistanceWeightedTripletMiner()._log_weights(embeddings, ~torch.eye(4, dtype=torch.bool))
    assert log_weights[0, 1] == log_weights[0, 2] == log_weights[0, 3]


def test_a_negative_at_upper_is_never_drawn_while_another_is_nearer():
    embeddings = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.1, 0.0]])
    labels = torch.tensor([0, 0, 1, 2])  # from row 0: 1.41 and 1.99, of which only the first is below 1.5
    found = draw(DistanceWeightedTripletMiner(upper=1.5), embeddings, labels, 200)
    assert set(found) == {2}


def test_an_anchor_all_of_whose_negatives_are_too_far_draws_evenly():
    embeddings = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [-1.0, 0.2, 0.0], [-1.0, 0.1, 0.1]])
    found = draw(DistanceWeightedTripletMiner(), embeddings, torch.tensor([0, 0, 1, 2]), 1000)
    assert set(found) == {2, 3}
    assert abs(found[2] - 500) < 80  # five standard deviations


def test_the_length_of_the_embeddings_does_not_matter():
    embeddings = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4).repeat(3)
    found = []
    for scale in (torch.ones(12, 1), torch.linspace(0.1, 50, 12)[:, None]):
        torch.manual_seed(0)
        found.append(rows_of(DistanceWeightedTripletMiner()(scale * embeddings, labels, EuclideanSimilarity())))
    assert found[0] == found[1]


@given(
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(0, 3), max_size=10),
    st.sampled_from([1, 2, 3, 700]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.booleans(),
)
@example(0, [number % 7 for number in range(64)], 3, torch.float64, True)
def test_each_ordered_positive_pair_that_has_a_negative_is_there_once_with_one_of_them(
    seed, labels, dim, dtype, duplicates
):
    embeddings = torch.randn(len(labels), dim, generator=torch.Generator().manual_seed(seed)).to(dtype)
    if duplicates and len(labels) > 2:
        embeddings[1:3] = embeddings[0]
    torch.manual_seed(seed)
    miner = DistanceWeightedTripletMiner()
    triplets = rows_of(miner(embeddings, torch.tensor(labels, dtype=torch.int64), EuclideanSimilarity()))
    count = len(labels)
    expected = [
        (a, p) for a in range(count) for p in range(count) if a != p and labels[a] == labels[p] and len(set(labels)) > 1
    ]
    assert [(a, p) for a, p, _ in triplets] == expected
    assert all(labels[n] != labels[a] for a, _, n in triplets)


def test_embeddings_that_are_not_finite_never_give_a_false_negative():
    embeddings = torch.tensor([[0.0, 1.0], [1.0, 1.0], [torch.nan, 0.0], [2.0, 0.0], [torch.nan, 1.0]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    for anchor, positive, negative in rows_of(
        DistanceWeightedTripletMiner()(embeddings, labels, EuclideanSimilarity())
    ):
        assert labels[anchor] == labels[positive] != labels[negative]


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(cutoff=0), "cutoff must be a number > 0, got 0"),
        (dict(cutoff=0.5, upper=0.5), "upper must be a number > 0.5, got 0.5"),
        (dict(upper=2.1), "upper must be at most 2, the largest distance on the unit sphere, got 2.1"),
    ):
        with pytest.raises(ValueError, match=message):
            DistanceWeightedTripletMiner(**arguments)
