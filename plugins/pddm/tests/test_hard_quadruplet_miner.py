import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from metricforge_pddm import PDDM, HardQuadrupletMiner

from metricforge import Similarity
from metricforge.testing import check_miner


class TableSimilarity(Similarity):
    """Scores (B, B) read from a table."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def pairwise(self, x, y):
        return self.table


def table(size, seed, shift=0.0):
    scores = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scores + scores.T) / 2 + shift


def mine(labels, similarity, embeddings=None, **arguments):
    if embeddings is None:
        embeddings = torch.ones(len(labels), 2)
    q = HardQuadrupletMiner(**arguments)(embeddings, torch.tensor(labels, dtype=torch.int64), similarity)
    columns = (q.anchor, q.positive, q.anchor_negative, q.positive_negative)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def up_to_order(quadruplets):
    """(i, j, k, l) and (j, i, l, k) are the same quadruplet."""
    return {min((i, j, k, l), (j, i, l, k)) for i, j, k, l in quadruplets}  # noqa: E741


def loop_quadruplet(scores, labels, positives):
    """The hardest of the given positive pairs, with the hardest negative of each end, by brute force."""
    i, j = min(positives, key=lambda pair: scores[pair[0]][pair[1]])
    k = max((n for n in range(len(labels)) if labels[n] != labels[i]), key=lambda n: scores[i][n])
    l = max((n for n in range(len(labels)) if labels[n] != labels[j]), key=lambda n: scores[j][n])  # noqa: E741
    return i, j, k, l


def loop_mine(scores, labels, per):
    if len(set(labels)) < 2:
        return []
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and labels[i] == labels[j]]
    if per == "batch":
        groups = [pairs]
    elif per == "class":
        groups = [[pair for pair in pairs if labels[pair[0]] == label] for label in set(labels)]
    elif per == "pair":
        groups = [[pair] for pair in pairs if pair[0] < pair[1]]
    else:
        groups = [[pair for pair in pairs if pair[0] == anchor] for anchor in range(len(labels))]
    return [loop_quadruplet(scores, labels, group) for group in groups if group]


@pytest.mark.parametrize("per", ["batch", "class", "anchor", "pair"])
@pytest.mark.parametrize("by", ["score", "euclidean"])
def test_the_contract_holds(by, per):
    check_miner(HardQuadrupletMiner(by=by, per=per))


def test_a_hand_worked_batch_gives_the_quadruplet_of_eq_3():
    scores = torch.tensor(
        [
            [9.0, 0.2, 0.1, 0.5],  # of 0: positive 1; negatives 2, 3: the hardest is 3
            [0.2, 9.0, 0.6, 0.3],  # of 1: positive 0; the hardest negative is 2
            [0.1, 0.6, 9.0, 0.7],
            [0.5, 0.3, 0.7, 9.0],
        ]
    )
    assert mine([4, 4, 6, 6], TableSimilarity(scores)) == [(0, 1, 3, 2)]  # 0.2 < 0.7: the pair (0, 1) is the hardest


@pytest.mark.parametrize("per", ["batch", "class", "anchor", "pair"])
@pytest.mark.parametrize("shift", [-100.0, 0.0, 100.0])
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 1000))
@example(labels=[number % 16 for number in range(64)], seed=0)
def test_quadruplets_are_those_of_a_brute_force_search(labels, seed, per, shift):
    scores = table(len(labels), seed, shift)
    found = mine(labels, TableSimilarity(scores), per=per)
    expected = loop_mine(scores.tolist(), labels, per)
    assert len(found) == len(expected)
    if per == "anchor":
        assert set(found) == set(expected)
    else:
        assert up_to_order(found) == up_to_order(expected)


@given(labels=st.lists(st.integers(0, 2), min_size=2, max_size=8), seed=st.integers(0, 1000))
def test_by_euclidean_ranks_by_the_distance_of_normalised_embeddings_and_needs_no_similarity(labels, seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64) * 5
    points = [[value / math.hypot(*row) for value in row] for row in embeddings.tolist()]
    scores = [[-math.dist(a, b) for b in points] for a in points]
    found = mine(labels, None, embeddings, by="euclidean")
    assert up_to_order(found) == up_to_order(loop_mine(scores, labels, "batch"))


@pytest.mark.parametrize("per", ["batch", "class", "anchor", "pair"])
@pytest.mark.parametrize(
    "labels", [[], [0], [2, 2, 2], [0, 1, 2]], ids=["no image", "one image", "one class", "all different"]
)
def test_a_batch_without_positives_or_negatives_gives_no_quadruplet(labels, per):
    assert mine(labels, TableSimilarity(table(len(labels), 0)), per=per) == []


@pytest.mark.parametrize("per", ["batch", "class", "anchor", "pair"])
def test_a_nan_score_is_mined_so_that_the_loss_shows_it(per):
    scores = table(4, 0)
    scores[0, 1] = scores[1, 0] = torch.nan
    assert (0, 1) in {(i, j) for i, j, _, _ in mine([0, 0, 1, 1], TableSimilarity(scores), per=per)}


def test_mining_builds_no_graph():
    unit = PDDM(3)
    embeddings = torch.randn(6, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: pytest.fail("a graph was built"), lambda saved: saved):
        HardQuadrupletMiner()(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]), unit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(dict(by="cosine"), 'by must be "score" or .* got .cosine'), (dict(per="image"), "per must be .* got .image")],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HardQuadrupletMiner(**arguments)


def loop_semi_hard(scores, labels, end, limit):
    """The most alike negative of ``end`` below ``limit``, or the least alike, by brute force."""
    negatives = [n for n in range(len(labels)) if labels[n] != labels[end]]
    below = [n for n in negatives if scores[end][n] < limit]
    return max(below, key=lambda n: scores[end][n]) if below else min(negatives, key=lambda n: scores[end][n])


@given(st.lists(st.integers(0, 3), max_size=9), st.integers(0, 2**31 - 1), st.sampled_from(["anchor", "pair"]))
def test_semi_hard_negatives_are_those_of_a_brute_force_search(labels, seed, per):
    scores = table(len(labels), seed)
    rows = scores.tolist()
    hard = mine(labels, TableSimilarity(scores), per=per)
    expected = [
        (i, j, loop_semi_hard(rows, labels, i, rows[i][j]), loop_semi_hard(rows, labels, j, rows[i][j]))
        for i, j, _, _ in hard
    ]
    assert mine(labels, TableSimilarity(scores), per=per, negatives="semi_hard") == expected


def test_another_kind_of_negatives_is_refused():
    with pytest.raises(ValueError, match='negatives must be "hard" or "semi_hard", got \'easy\''):
        HardQuadrupletMiner(negatives="easy")
