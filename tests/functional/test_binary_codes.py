from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.functional import pack_bits, pairwise_hamming_distances


def test_a_byte_is_worked_out_by_hand():
    signs = torch.tensor([[1.0, -1, 0.5, -0.5, 0, 2, -3, 1e-30], [-1.0] * 7 + [1.0]])
    assert pack_bits(signs).tolist() == [[0b10100101], [1]]


@pytest.mark.parametrize("dim", [8, 64, 200])
def test_numpy_unpacks_the_bits(dim):
    x = torch.randn(7, dim, generator=torch.Generator().manual_seed(dim))
    packed = pack_bits(x)
    assert packed.dtype == torch.uint8
    assert packed.shape == (7, dim // 8)
    assert (np.unpackbits(packed.numpy(), axis=1) == (x > 0).numpy()).all()


@pytest.mark.parametrize(("dim", "way_out"), [(63, "56 or 64"), (4, "8"), (0, "8")])
def test_a_size_that_fills_no_bytes_is_refused(dim, way_out):
    with pytest.raises(ValueError, match=rf"dim \({dim}\) must be a multiple of 8.*give the head {way_out} dimensions"):
        pack_bits(torch.zeros(2, dim))


def test_one_vector_is_refused():
    with pytest.raises(ValueError, match=r"embeddings must be \(N, D\), got shape \(8,\)"):
        pack_bits(torch.zeros(8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_distances_count_the_bits_that_differ_also_under_autocast(dtype):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 2051, generator=generator).to(dtype) for n in (3, 5))  # bfloat16 cannot count to 2051
    expected = [[sum((a > 0) != (b > 0) for a, b in zip(u, v, strict=True)) for v in y.tolist()] for u in x.tolist()]
    assert pairwise_hamming_distances(x, y).tolist() == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pairwise_hamming_distances(x, y).tolist() == expected
