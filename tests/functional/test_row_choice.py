from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from metricforge.functional import least_alike, most_alike, random_choice

ALLOWED = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])


def test_the_extremes_are_taken_among_the_allowed_only():
    scores = torch.tensor([[-5.0, -7.0, -1.0], [-9.0, -3.0, -2.0], [1.0, 2.0, 3.0]])
    largest, found = most_alike(scores, ALLOWED)
    assert largest[:2].tolist() == [0, 2]
    assert found.tolist() == [True, True, False]
    smallest, found = least_alike(scores, ALLOWED)
    assert smallest[:2].tolist() == [1, 1]
    assert found.tolist() == [True, True, False]


def test_a_row_whose_scores_are_infinite_never_gives_a_column_that_is_not_allowed():
    scores = torch.full((3, 3), -torch.inf)
    columns, found = most_alike(scores, ALLOWED)
    assert ALLOWED[torch.arange(3), columns][found].all()
    columns, found = least_alike(-scores, ALLOWED)
    assert ALLOWED[torch.arange(3), columns][found].all()


def test_no_rows_and_no_columns_find_nothing():
    for shape in ((0, 0), (0, 3), (2, 0)):
        columns, found = most_alike(torch.zeros(shape), torch.ones(shape, dtype=torch.bool))
        assert columns.shape == found.shape == shape[:1]
        assert not found.any()


@given(st.integers(0, 2**31 - 1))
def test_a_random_choice_is_allowed_wherever_there_is_one(seed):
    torch.manual_seed(seed)
    rows = torch.tensor([0, 0, 1, 2, 1])
    columns, found = random_choice(ALLOWED, rows)
    assert found.tolist() == [True, True, True, False, True]
    assert ALLOWED[rows[found], columns[found]].all()


def test_a_random_choice_is_even_and_repeats_with_the_seed():
    allowed = torch.tensor([[True, False, True, True, False]])
    rows = torch.zeros(30_000, dtype=torch.int64)
    torch.manual_seed(0)
    columns, _ = random_choice(allowed, rows)
    counts = columns.bincount(minlength=5)
    assert counts[[1, 4]].eq(0).all()
    assert (counts[[0, 2, 3]] - 10_000).abs().max() < 400  # five standard deviations of a fair draw
    torch.manual_seed(0)
    assert torch.equal(random_choice(allowed, rows)[0], columns)
