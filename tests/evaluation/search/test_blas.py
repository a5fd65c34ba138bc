from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from metricforge.evaluation.search.blas import product_threads, products


def _blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_sums_over_dimensions_in_the_type_of_the_rows(dtype):
    rows, images = (torch.randint(-9, 10, (count, 5), generator=torch.Generator().manual_seed(0)) for count in (3, 4))
    found = products(rows.to(dtype), images.to(dtype))
    by_loop = [[sum(int(a) * int(b) for a, b in zip(x, y, strict=True)) for y in images] for x in rows]
    assert found.dtype == dtype
    assert found.tolist() == by_loop  # integers: exact in any float type


def test_products_are_written_into_columns_of_a_wider_buffer_and_nowhere_else():
    buffer = torch.full((2, 5), 7.0)
    out = buffer[:, :3]
    found = products(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), out=out)
    assert found.data_ptr() == buffer.data_ptr()
    assert buffer.tolist() == [[1.0, 3.0, 5.0, 7.0, 7.0], [2.0, 4.0, 6.0, 7.0, 7.0]]


def test_the_number_of_threads_holds_within_the_block_and_is_put_back():
    np.ones((2, 2)) @ np.ones((2, 2))  # loads the library
    before = _blas_threads()
    with product_threads(1):
        assert _blas_threads() == {1}
    assert _blas_threads() == before
