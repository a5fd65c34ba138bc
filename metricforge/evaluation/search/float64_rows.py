"""Rows of a set in float64, as a similarity prepares them, without keeping them all."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.evaluation.search.duplicate_rows import first_duplicates
from metricforge.evaluation.search.prepared_embeddings import (
    as_tensor,
    is_rounded,
    prepared_embeddings,
)
from metricforge.interfaces import Similarity
from metricforge.large_arrays import let_go

DOUBLE_ROUNDOFF = 2.0**-53


class Float64Rows:
    """Embeddings in the space in which a similarity searches: all in float32, and any of them in float64.

    Where float32 rounds what ``prepare`` returns, rows in float64 are prepared again from the embeddings.

    Args:
        embeddings: (N, D) of any float type.

    Raises:
        ValueError: for embeddings of which float32 cannot tell the direction, where that is what is compared.
    """

    def __init__(self, embeddings: Array, similarity: Similarity, device: torch.device) -> None:
        self._embeddings, self._similarity, self._device = embeddings, similarity, device
        self.is_rounded = is_rounded(embeddings, similarity, device)
        self.is_normalised = self.is_rounded  # all lengths are 1 or 0, as far as float64 can tell
        self.has_zeros = False
        self.in_float32 = prepared_embeddings(
            embeddings, similarity, device, on_rows=self._look_at if self.is_rounded else None
        )
        self._given = as_tensor(embeddings).to(device) if self.is_rounded else self.in_float32

    def less(self, centre: Tensor) -> Tensor:
        """All rows (N, D') less ``centre`` (D',) in float64, rounded to float32 only then."""
        return prepared_embeddings(self._embeddings, self._similarity, self._device, centre)

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Rows (n, D') in float64, each the same whatever it is asked for with."""
        rows = self._given[indices].double()  # (n, D)
        return self._similarity.prepare(rows) if self.is_rounded else rows

    def first_duplicates(self) -> Tensor:
        """The index of the first row with the same embedding, for each (N,)."""
        return first_duplicates(self._given, lambda: let_go(self._embeddings))

    def _look_at(self, rows: Tensor) -> None:
        lengths = rows.norm(dim=1)  # (n,)
        is_zero = lengths == 0
        off = (lengths - 1).abs().masked_fill(is_zero, 0)
        self.is_normalised = self.is_normalised and bool((off <= (rows.shape[1] + 8) * DOUBLE_ROUNDOFF).all())
        self.has_zeros = self.has_zeros or bool(is_zero.any())
