import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

from metricforge_pml.index_tuples import from_index_tuple, to_index_tuple

from metricforge import DirectedPairs, Pairs, Triplets

CPU = torch.device("cpu")


def lists(columns):
    return [column.tolist() for column in columns]


def test_pairs_without_a_direction_are_given_in_both():
    pairs = Pairs(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([True, False, True]))
    assert lists(to_index_tuple(pairs)) == [[0, 2, 3, 5], [3, 5, 0, 2], [1, 4], [4, 1]]


def test_directed_pairs_come_back_as_they_were_given():
    columns = torch.tensor([4, 0]), torch.tensor([0, 4]), torch.tensor([2, 2, 1]), torch.tensor([0, 1, 2])
    pairs = from_index_tuple(columns, CPU)
    assert type(pairs) is DirectedPairs
    assert pairs.positive.tolist() == [True, True, False, False, False]
    assert lists(to_index_tuple(pairs)) == lists(columns)


def test_triplets_come_back_as_they_were_given():
    columns = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 3])
    triplets = from_index_tuple(columns, CPU)
    assert type(triplets) is Triplets
    assert lists(to_index_tuple(triplets)) == lists(columns)


def test_no_tuples_stay_none_and_empty_columns_empty():
    assert to_index_tuple(None) is None
    empty = torch.tensor([])  # a float: what torch makes of an empty list
    assert lists(to_index_tuple(from_index_tuple((empty,) * 4, CPU))) == [[], [], [], []]
