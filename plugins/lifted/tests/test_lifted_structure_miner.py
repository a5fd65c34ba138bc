import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from metricforge_lifted import LiftedStructureMiner

from metricforge.testing import check_miner


def mine(labels, negatives="all"):
    """Sets of the positive and of the negative pairs; fails if a pair stands twice or is not i < j."""
    mined = LiftedStructureMiner(negatives)(torch.randn(len(labels), 3), torch.tensor(labels), None)
    listed = list(zip(mined.first.tolist(), mined.second.tolist(), mined.positive.tolist(), strict=True))
    assert len(set(listed)) == len(listed)
    assert all(first < second for first, second, _ in listed)
    return {(i, j) for i, j, positive in listed if positive}, {(i, j) for i, j, positive in listed if not positive}


def test_the_contract_holds():
    check_miner(LiftedStructureMiner())
    check_miner(LiftedStructureMiner(negatives="as_many_as_positives"))


def test_a_hand_worked_batch_gives_every_positive_pair_and_the_negatives_that_touch_one():
    positive, negative = mine([7, 2, 7, 5])
    assert positive == {(0, 2)}
    assert negative == {(0, 1), (1, 2), (0, 3), (2, 3)}  # not (1, 3): neither end is in a positive pair


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
@example([number % 7 for number in range(64)])
def test_pairs_are_those_of_a_loop_over_the_batch(labels):
    both = [(i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))]
    positive, negative = mine(labels)
    assert positive == {(i, j) for i, j in both if labels[i] == labels[j]}
    paired = {i for pair in positive for i in pair}
    assert negative == {(i, j) for i, j in both if labels[i] != labels[j] and {i, j} & paired}


def test_as_many_negatives_as_positives_are_a_random_subset_drawn_anew_each_time():
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    _, every_negative = mine(labels)
    draws = set()
    for _ in range(20):
        positive, negative = mine(labels, "as_many_as_positives")
        assert len(negative) == len(positive) == 4
        assert negative <= every_negative
        draws.add(frozenset(negative))
    assert len(draws) > 1


def test_the_subset_follows_torchs_seed():
    torch.manual_seed(3)
    first = mine([0, 0, 1, 1, 2, 2], "as_many_as_positives")
    torch.manual_seed(3)
    assert mine([0, 0, 1, 1, 2, 2], "as_many_as_positives") == first


def test_with_fewer_negatives_than_positives_all_negatives_are_taken():
    positive, negative = mine([0, 0, 0, 0, 1], "as_many_as_positives")
    assert len(positive) == 6
    assert negative == {(0, 4), (1, 4), (2, 4), (3, 4)}


def test_an_unknown_choice_of_negatives_is_refused():
    with pytest.raises(ValueError, match=r"negatives must be .* got 'some'"):
        LiftedStructureMiner(negatives="some")
