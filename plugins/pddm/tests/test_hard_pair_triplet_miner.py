import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from metricforge_pddm import HardPairTripletMiner

from metricforge import Similarity
from metricforge.testing import check_miner


class TableSimilarity(Similarity):
    """Scores (B, B) read from a table."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def pairwise(self, x, y):
        return self.table


def mine(labels, similarity, embeddings=None, **arguments):
    if embeddings is None:
        embeddings = torch.ones(len(labels), 2)
    t = HardPairTripletMiner(**arguments)(embeddings, torch.tensor(labels, dtype=torch.int64), similarity)
    return list(zip(t.anchor.tolist(), t.positive.tolist(), t.negative.tolist(), strict=True))


def loop_mine(scores, labels, per):
    """Every positive pair looked at, hardest first; of its two ends the one with the harder negative is the anchor."""
    if len(set(labels)) < 2:
        return []

    def negative_of(i):
        return max((n for n in range(len(labels)) if labels[n] != labels[i]), key=lambda n: scores[i][n])

    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and labels[i] == labels[j]]
    if per == "anchor":
        groups = [[pair for pair in pairs if pair[0] == anchor] for anchor in range(len(labels))]
        hardest = [min(group, key=lambda p: scores[p[0]][p[1]]) for group in groups if group]
        return [(i, j, negative_of(i)) for i, j in hardest]
    groups = [[p for p in pairs if labels[p[0]] == label] for label in set(labels)] if per == "class" else [pairs]
    found = []
    for group in groups:
        if group:
            i, j = min(group, key=lambda p: scores[p[0]][p[1]])
            i, j = max((i, j), (j, i), key=lambda p: scores[p[0]][negative_of(p[0])])
            found.append((i, j, negative_of(i)))
    return found


def table(size, seed, shift):
    scores = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scores + scores.T) / 2 + shift


@pytest.mark.parametrize("per", ["batch", "class", "anchor"])
@pytest.mark.parametrize("by", ["score", "euclidean"])
def test_the_contract_holds(by, per):
    check_miner(HardPairTripletMiner(by=by, per=per))


def test_a_hand_worked_batch_takes_the_end_with_the_harder_negative_as_anchor():
    scores = torch.tensor(
        [
            [9.0, 0.2, 0.1, 0.5],
            [0.2, 9.0, 0.6, 0.3],
            [0.1, 0.6, 9.0, 0.7],
            [0.5, 0.3, 0.7, 9.0],
        ]
    )
    # The hardest positive pair is (0, 1) at 0.2. The hardest negative of 0 is 3 at 0.5, of 1 it is 2 at 0.6: 1 anchors.
    assert mine([4, 4, 6, 6], TableSimilarity(scores)) == [(1, 0, 2)]


@pytest.mark.parametrize("per", ["batch", "class", "anchor"])
@pytest.mark.parametrize("shift", [-100.0, 0.0, 100.0])
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 1000))
@example(labels=[number % 16 for number in range(64)], seed=0)
def test_triplets_are_those_of_a_brute_force_search(labels, seed, per, shift):
    scores = table(len(labels), seed, shift)
    assert sorted(mine(labels, TableSimilarity(scores), per=per)) == sorted(loop_mine(scores.tolist(), labels, per))


@given(labels=st.lists(st.integers(0, 2), min_size=2, max_size=8), seed=st.integers(0, 1000))
def test_by_euclidean_ranks_by_the_distance_of_normalised_embeddings_and_needs_no_similarity(labels, seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64) * 5
    points = [[value / math.hypot(*row) for value in row] for row in embeddings.tolist()]
    scores = [[-math.dist(a, b) for b in points] for a in points]
    # whether an end's negative is the harder one may hang on rounding, where both ends have the same
    found = [(min(i, j), max(i, j), k) for i, j, k in mine(labels, None, embeddings, by="euclidean")]
    assert found == [(min(i, j), max(i, j), k) for i, j, k in loop_mine(scores, labels, "batch")]


@pytest.mark.parametrize(
    "labels", [[], [0], [2, 2, 2], [0, 1, 2]], ids=["no image", "one image", "one class", "all different"]
)
def test_a_batch_without_positives_or_negatives_gives_no_triplet(labels):
    assert mine(labels, TableSimilarity(table(len(labels), 0, 0.0))) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(dict(by="cosine"), 'by must be "score" or .* got .cosine'), (dict(per="image"), "per must be .* got .image")],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HardPairTripletMiner(**arguments)
