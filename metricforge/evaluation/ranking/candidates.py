"""What a prefilter leaves open: images that may be ranked above a match, or be the nearest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.search.sortable_bits import sortable_bits

ANY_FLOAT = 2**32  # the span of float32 scores


class MatchList(NamedTuple):
    """Matches of some queries: ``row`` (P,) of the block, ascending, and ``image`` (P,), the gallery index."""

    row: Tensor
    image: Tensor


class NearestCandidates(NamedTuple):
    """Images that may be the nearest of the rows asked for: ``row`` (N,) of these rows and ``image`` (N,).

    Rows that are ``unclear`` (r,) have too many, and none here.
    """

    row: Tensor
    image: Tensor
    unclear: Tensor


class PrefilterResult(NamedTuple):
    """Which matches may be of interest, and which gallery images may be ranked above them.

    ``beyond`` (b,) images are surely above all matches of a query. Of the matches ``wanted`` (p,), indices into the
    list of them, images with a score below ``low`` (p,) are surely ranked below, above ``high`` (p,) surely above; all
    others that are not beyond are ``image`` (N,), matches among them, for query ``row`` (N,), with ``value`` (N,), of
    which those of a query differ by less than ``span`` steps of their sorted order. Nothing is said about queries that
    are ``deep`` (b,): too many images are of interest. ``nearest_candidates`` tells, for rows (r,) of the block that
    are not deep, which images may be their nearest; ask before the next block is looked at.
    """

    wanted: Tensor
    low: Tensor
    high: Tensor
    beyond: Tensor
    row: Tensor
    image: Tensor
    value: Tensor
    span: int
    deep: Tensor
    nearest_candidates: Callable[[Tensor], NearestCandidates]


class Candidates:
    """Gallery images ``column`` (N,) with a ``score`` (N,) for queries ``row`` (N,), in order of row and score.

    Ranges of scores are counted by bisection.

    Args:
        span: more than the steps of their sorted order that any two scores of a row are apart.
    """

    def __init__(self, row: Tensor, column: Tensor, score: Tensor, rows: int, span: int) -> None:
        self._span = span
        keys = self._keys(row, score)
        # numpy sorts integers several times as fast
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
