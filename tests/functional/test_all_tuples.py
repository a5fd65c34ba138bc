from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge.functional import all_pairs, all_quadruplets, all_triplets

LABELS = st.lists(st.integers(0, 2), max_size=6)


def rows_of(*columns):
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(LABELS)
def test_all_pairs_are_those_of_a_loop(values):
    found = all_pairs(torch.tensor(values, dtype=torch.int64))
    count = len(values)
    expected = [(i, j, values[i] == values[j]) for i in range(count) for j in range(i + 1, count)]
    assert rows_of(found.first, found.second, found.positive) == expected


@given(LABELS)
def test_all_triplets_are_those_of_a_loop(values):
    found = all_triplets(torch.tensor(values, dtype=torch.int64))
    rows = range(len(values))
    expected = [
        (a, p, n)
        for a in rows
        for p in rows
        for n in rows
        if a != p and values[a] == values[p] and values[a] != values[n]
    ]
    assert rows_of(found.anchor, found.positive, found.negative) == expected


@given(LABELS)
def test_all_quadruplets_are_those_of_a_loop(values):
    found = all_quadruplets(torch.tensor(values, dtype=torch.int64))
    rows = range(len(values))
    expected = [
        (i, j, k, m)
        for i in rows
        for j in rows
        for k in rows
        for m in rows
        if i < j and values[i] == values[j] and values[k] != values[i] and values[m] != values[j]
    ]
    columns = (found.anchor, found.positive, found.anchor_negative, found.positive_negative)
    assert rows_of(*columns) == expected
