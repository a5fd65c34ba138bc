from __future__ import annotations

import torch

from metricforge.evaluation.search.sortable_bits import (
    largest_bfloat16_bits,
    least_bfloat16_bits,
    scores_of_bfloat16_bits,
    sortable_bfloat16_bits,
    sortable_bits,
)

SCORES = torch.tensor([-torch.inf, -300.0, -1.5, -1e-38, -0.0, 0.0, 1e-38, 2.0**-9, 1.0, 257.0, torch.inf])


def test_whole_numbers_rank_as_scores_do_and_zero_has_no_sign_in_float32():
    keys = sortable_bits(SCORES)
    assert keys[4] == keys[5]
    assert (keys.diff()[[0, 1, 2, 3, 5, 6, 7, 8, 9]] > 0).all()


def test_half_bits_rank_as_scores_do_and_give_them_back():
    halves = SCORES.bfloat16()
    bits = sortable_bfloat16_bits(halves.clone())
    assert (torch.from_numpy(bits).int().diff() > 0).all()
    assert torch.equal(scores_of_bfloat16_bits(bits), halves.float())


def test_bounds_of_zero_take_in_both_zeros():
    zeros = torch.tensor([0.0, -0.0, 1.0, -1.0])
    assert least_bfloat16_bits(zeros).tolist()[:2] == [-1, -1]
    assert largest_bfloat16_bits(zeros).tolist()[:2] == [0, 0]
    assert least_bfloat16_bits(zeros).tolist()[2:] == largest_bfloat16_bits(zeros).tolist()[2:]
    assert torch.equal(zeros, torch.tensor([0.0, -0.0, 1.0, -1.0]))  # left as they were
