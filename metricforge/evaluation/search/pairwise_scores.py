"""Similarities that only ``pairwise`` itself can tell, such as a learned metric head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.interfaces import Similarity

PAIRS_AT_ONCE = 2**14  # a metric head holds some hundreds of activations a pair


def require_finite(scores: Tensor, source: str, start: int, stop: int) -> None:
    """Raise ValueError if one of the ``scores`` that ``source`` gave for queries ``start:stop`` is not finite."""
    finite = scores.isfinite()
    if not finite.all():
        raise ValueError(
            f"{source} gave {int((~finite).sum())} scores that are not finite for queries {start} to {stop - 1}; "
            "have its weights diverged?"
        )


class PairwiseScores:
    """Scores of one block of queries after another by ``similarity.pairwise``, which is called on small tiles.

    Args:
        queries: (Q, D), or None to search the gallery with itself.
        gallery: (G, D).
    """

    def __init__(
        self,
        queries: Array | None,
        gallery: Array,
        similarity: Similarity,
        device: torch.device,
    ) -> None:
        self._queries = gallery if queries is None else queries
        self._gallery = gallery
        self._similarity = similarity
        self._device = device

    def rough(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Scores (b, G) of queries ``start:stop``, and the slack (b,): 0, for they are final."""
        scores = self.from_column(0, start, stop)
        return scores, scores.new_zeros(len(scores))

    def from_column(self, column: int, start: int, stop: int) -> Tensor:
        """Scores (b, G - column) of queries ``start:stop`` and the gallery from ``column`` on.

        Raises:
            ValueError: if a score is not finite.
        """
        queries = self._on_device(self._queries[start:stop])  # (b, D)
        columns = max(1, PAIRS_AT_ONCE // (stop - start))
        tiles = [
            self._similarity.pairwise(queries, self._on_device(self._gallery[first : first + columns])).float()
            for first in range(column, len(self._gallery), columns)
        ]
        scores = torch.cat(tiles, dim=1)  # (b, G - column)
        require_finite(scores, f"{type(self._similarity).__name__}.pairwise", start, stop)
        return scores

    def exact(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Equal for all pairs (P,): where ``pairwise`` is undecided, nothing else decides."""
        return torch.zeros(len(queries), dtype=torch.float64, device=queries.device)

    def _on_device(self, embeddings: Array) -> Tensor:
        return torch.from_numpy(np.array(embeddings, dtype=np.float32)).to(self._device)
