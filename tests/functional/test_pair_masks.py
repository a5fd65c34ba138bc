from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge.functional import negative_mask, positive_mask, positive_pairs

LABELS = st.lists(st.integers(0, 3), max_size=8)


def test_masks_of_a_hand_worked_case():
    labels = torch.tensor([7, 7, 2])
    assert positive_mask(labels).tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    assert negative_mask(labels).tolist() == [[False, False, True], [False, False, True], [True, True, False]]


@given(LABELS)
def test_each_pair_is_positive_negative_or_the_sample_itself(values):
    labels = torch.tensor(values, dtype=torch.int64)
    positive, negative = positive_mask(labels), negative_mask(labels)
    for i in range(len(values)):
        for j in range(len(values)):
            assert positive[i, j].item() == (i != j and values[i] == values[j])
            assert negative[i, j].item() == (values[i] != values[j])


@given(LABELS)
def test_positive_pairs_are_listed_once_in_row_order(values):
    first, second = positive_pairs(torch.tensor(values, dtype=torch.int64))
    count = len(values)
    expected = [(i, j) for i in range(count) for j in range(i + 1, count) if values[i] == values[j]]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected


@given(LABELS)
def test_both_ways_each_ordered_positive_pair_is_listed_once_in_row_order(values):
    first, second = positive_pairs(torch.tensor(values, dtype=torch.int64), both_ways=True)
    count = len(values)
    expected = [(i, j) for i in range(count) for j in range(count) if i != j and values[i] == values[j]]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
