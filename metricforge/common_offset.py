"""The offset that embeddings share, where it is large beside what tells them apart."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array
from metricforge.large_arrays import ROWS_AT_ONCE, array_beside, row_blocks

SMALL = 0.25  # rows closer to their mean than this part of their length are better kept less their mean


def common_offset(embeddings: Array) -> Array | None:
    """The mean (D,), in float64, of ``embeddings`` (N, D) whose distances to it are small beside their lengths.

    None for others, and for an offset that is of no use, because taking it away would leave rows that are all 0.
    """
    if not len(embeddings):
        return None
    offset = np.zeros(embeddings.shape[1])  # (D,)
    for _, block in row_blocks(embeddings, ROWS_AT_ONCE):
        offset += block.sum(axis=0, dtype=np.float64) / len(embeddings)
    apart = length = 0.0
    for _, block in row_blocks(embeddings, ROWS_AT_ONCE):
        rows = block.astype(np.float64)  # (n, D)
        length += float(np.linalg.norm(rows, axis=1).sum())
        apart += float(np.linalg.norm(rows - offset, axis=1).sum())
    return offset if 0 < apart < SMALL * length else None


def without_offset(embeddings: Array, offset: Array) -> Array:
    """``embeddings`` (N, D) less ``offset`` (D,), taken in float64, as float32."""
    moved = array_beside(embeddings, embeddings.shape, np.float32)
    for place, block in row_blocks(embeddings, ROWS_AT_ONCE):
        moved[place] = block.astype(np.float64) - offset
    return moved
