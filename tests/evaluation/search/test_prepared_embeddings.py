from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from metricforge.evaluation.search.prepared_embeddings import ROWS_AT_ONCE, prepared_embeddings
from metricforge.large_arrays import new_array
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity

CPU = torch.device("cpu")
ROWS = np.random.default_rng(0).standard_normal((ROWS_AT_ONCE + 9, 4)).astype(np.float32)


def test_embeddings_that_need_no_change_are_not_copied_even_if_they_are_read_only():
    rows = ROWS.copy()
    rows.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = prepared_embeddings(rows, EuclideanSimilarity(), CPU)
    assert prepared.data_ptr() == rows.ctypes.data
    assert np.array_equal(prepared.numpy(), ROWS)


@pytest.mark.parametrize("change", [lambda a: a.astype(np.float16), lambda a: a[:, ::-1], lambda a: a.astype(">f4")])
def test_other_numbers_or_layouts_are_converted(change):
    prepared = prepared_embeddings(change(ROWS), EuclideanSimilarity(), CPU)
    assert prepared.dtype == torch.float32
    assert prepared.is_contiguous()
    assert np.array_equal(prepared.numpy(), change(ROWS).astype(np.float32))


@pytest.mark.parametrize("mapped", [False, True])
def test_unit_rows_are_a_copy_that_lies_where_the_embeddings_do(mapped):
    rows = new_array(ROWS.shape, np.float32, 0 if mapped else 1)
    rows[:] = ROWS
    prepared = prepared_embeddings(rows, CosineSimilarity(), CPU)
    np.testing.assert_allclose(prepared.numpy(), ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True), rtol=1e-5)
    assert np.array_equal(rows, ROWS)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_directions_that_float32_cannot_tell_are_refused_and_zeros_are_not(scale):
    rows = ROWS[:5].copy()
    rows[3] = 0
    assert prepared_embeddings(rows, CosineSimilarity(), CPU)[3].tolist() == [0, 0, 0, 0]
    rows[2] *= np.float32(scale)
    with pytest.raises(
        ValueError, match=r"lengths from 1e-12 to 1e19 .* the largest number of one is .*normalise them"
    ):
        prepared_embeddings(rows, CosineSimilarity(), CPU)
