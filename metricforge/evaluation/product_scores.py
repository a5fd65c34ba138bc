"""Similarities that a matrix product can tell, with a bound on what float32 gets wrong."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.prepared_embeddings import prepared_embeddings
from metricforge.interfaces import Similarity

UNIT_ROUNDOFF = 2.0**-24  # of float32
NUMBERS_AT_ONCE = 2**22  # doubles that one step of the exact comparison holds


class ProductScores:
    """Scores that rank a gallery as a similarity with ``search`` "l2" or "ip" does, for one block of queries at a time.

    ``rough`` is one float32 matrix product and comes with a slack: two scores further apart than that are in the right
    order. ``exact`` compares in float64, pair by pair, so that it depends neither on the block nor on the position of
    the pair: identical images score identically. Both work on what ``prepare`` returns, in float32.

    Args:
        queries: (Q, D), or None to search the gallery with itself.
        gallery: (G, D).

    Raises:
        ValueError: for embeddings so long that their products exceed float32.
    """

    def __init__(
        self,
        queries: np.ndarray[Any, Any] | None,
        gallery: np.ndarray[Any, Any],
        similarity: Similarity,
        device: torch.device,
    ) -> None:
        assert similarity.search in ("l2", "ip")
        self._search: Literal["l2", "ip"] = similarity.search
        self._gallery = prepared_embeddings(gallery, similarity, device)  # (G, D)
        self._queries = self._gallery if queries is None else prepared_embeddings(queries, similarity, device)  # (Q, D)
        # Moving the origin changes no ranking, and where all embeddings are nearly the same it keeps float32 sharp.
        self._centre = self._gallery.mean(dim=0)  # (D,)
        self._centred = self._gallery - self._centre  # (G, D)
        self._half_squares = self._centred.square().sum(dim=1) / 2  # (G,)
        self._longest = float(self._centred.norm(dim=1).max())
        longest_query = float(self._queries.norm(dim=1).max() + self._centre.norm())
        if not (longest_query + self._longest) ** 2 < torch.finfo(torch.float32).max:
            raise ValueError(
                f"embeddings are too long to be searched in float32 (length {max(longest_query, self._longest):.3g}); "
                "scale or normalise them"
            )

    def rough(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Scores (b, G) in float32 of queries ``start:stop``, larger = nearer, and the slack of each query (b,)."""
        queries = self._queries[start:stop]  # (b, D)
        if self._search == "l2":
            queries = queries - self._centre
            scores = torch.addmm(self._half_squares.neg(), queries, self._centred.T)  # -|q - g|^2 / 2 + |q|^2 / 2
        else:
            scores = queries @ self._centred.T
        # |fl(q.g) - q.g| <= D u |q||g| in whatever order it is summed; 8 u covers the centring, 1.1 the terms in u^2.
        size = queries.norm(dim=1).double() * self._longest  # (b,)
        if self._search == "l2":
            size = size + self._longest**2 / 2
        error = 1.1 * (queries.shape[1] + 8) * UNIT_ROUNDOFF * size
        return scores, (2 * error + queries.shape[1] * torch.finfo(torch.float32).tiny).float()

    def exact(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (P,) in float64 of the pairs (``queries[p]``, ``candidates[p]``), larger = nearer."""
        if not len(queries):
            return torch.empty(0, dtype=torch.float64, device=queries.device)
        pairs = queries * len(self._gallery) + self._first_duplicate[candidates]  # (P,)
        pairs, of_pair = torch.unique(
            pairs, return_inverse=True
        )  # equal images are compared once: a collapsed model has many
        scores = torch.empty(len(pairs), dtype=torch.float64, device=pairs.device)
        step = max(1, NUMBERS_AT_ONCE // self._gallery.shape[1])
        for start in range(0, len(pairs), step):
            block = pairs[start : start + step]
            query = self._queries[block // len(self._gallery)].double()  # (p, D)
            image = self._gallery[block % len(self._gallery)].double()  # (p, D)
            terms = (query - image).square().neg() if self._search == "l2" else query * image
            scores[start : start + step] = terms.sum(dim=1)
        return scores[of_pair]

    @cached_property
    def _first_duplicate(self) -> Tensor:
        """The first gallery image (G,) with the same embedding, for each; its own index where there is no other."""
        distinct, group = torch.unique(self._gallery, dim=0, return_inverse=True)  # group: (G,)
        order = torch.arange(len(group), device=group.device)
        first = torch.full((len(distinct),), len(group), device=group.device)
        return first.scatter_reduce(0, group, order, reduce="amin")[group]
