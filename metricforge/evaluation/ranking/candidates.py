"""Images that may be ranked before a right one, sorted so that ranges of scores are counted by bisection."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.search.sortable_bits import sortable_bits

ANY_FLOAT = 2**32  # the span of float32 scores


class Candidates:
    """Gallery images ``column`` (N,) with a ``score`` (N,) for queries ``row`` (N,), in order of row and score.

    Args:
        span: by less than so many places of their sorted order all scores of a row differ.
    """

    def __init__(self, row: Tensor, column: Tensor, score: Tensor, rows: int, span: int) -> None:
        self._span = span
        keys = self._keys(row, score)
        # numpy sorts whole numbers several times as fast
        order = torch.from_numpy(np.argsort(keys.numpy())) if keys.device.type == "cpu" else keys.argsort()
        self._sorted = keys = keys[order]
        self.row, self.column = row[order], column[order]
        starts = torch.arange(1, rows + 1, device=row.device) * span
        self._row_ends = torch.searchsorted(keys, starts)  # (rows,)

    def _keys(self, row: Tensor, score: Tensor) -> Tensor:
        if score.is_floating_point():
            return row * self._span + (sortable_bits(score) + 2**31)
        return row * self._span + (score.long() + self._span - 1)

    def between(self, row: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where those within ``low`` (P,) and ``high`` (P,) of a ``row`` (P,) begin and end, and where the row ends."""
        start = torch.searchsorted(self._sorted, self._keys(row, low))
        end = torch.searchsorted(self._sorted, self._keys(row, high), right=True)
        return start, torch.maximum(start, end), self._row_ends[row]

    def union(self, start: Tensor, end: Tensor) -> Tensor:
        """Which candidates (N,) are in one of the ranges ``start`` (P,) to ``end`` (P,)."""
        steps = torch.zeros(len(self._sorted) + 1, dtype=torch.int64, device=start.device)
        ones = torch.ones_like(start)
        steps.scatter_add_(0, start, ones).scatter_add_(0, end, -ones)
        return steps.cumsum(dim=0)[:-1] > 0
