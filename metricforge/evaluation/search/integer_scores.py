"""Similarities whose scores are final: whole rows of numbers of which no two are the same, larger = nearer."""

from __future__ import annotations

import faiss
import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.evaluation.search.hamming_knn import packed_embeddings
from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.ties_by_index import keys_without_ties
from metricforge.interfaces import Similarity


class HammingScores:
    """Minus the Hamming distance times the gallery's size, less the gallery index, so that ties rank by index.

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
        self._gallery = packed_embeddings(gallery, similarity, device)  # (G, bytes)
        self._queries = self._gallery if queries is None else packed_embeddings(queries, similarity, device)
        largest = (8 * self._gallery.shape[1] + 1) * len(gallery)
        self._dtype = torch.int32 if largest < 2**31 else torch.int64

    def rows(self, queries: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the integers (b, G) of ``queries`` (b,), on the host; ``out`` (b, G) int32 holds distances."""
        codes = np.ascontiguousarray(self._queries[queries.numpy()])  # (b, bytes)
        distances = torch.empty(len(codes), len(self._gallery), dtype=torch.int32) if out is None else out
        faiss.hammings(  # type: ignore[attr-defined]
            faiss.swig_ptr(codes),
            faiss.swig_ptr(self._gallery),
            len(codes),
            len(self._gallery),
            codes.shape[1],
            faiss.swig_ptr(distances.numpy()),
        )
        index = torch.arange(len(self._gallery), dtype=self._dtype)
        return distances.to(self._dtype).mul_(-len(self._gallery)).sub_(index)


class PairwiseIntegerScores:
    """Integers that rank as ``similarity.pairwise`` does, ties by index; arguments as for ``HammingScores``."""

    def __init__(
        self,
        queries: Array | None,
        gallery: Array,
        similarity: Similarity,
        device: torch.device,
    ) -> None:
        self._scores = PairwiseScores(queries, gallery, similarity, device)

    def rows(self, queries: Tensor) -> Tensor:
        """Return the integers (b, G) of ``queries`` (b,), consecutive indices."""
        return keys_without_ties(self._scores.rough(int(queries[0]), int(queries[-1]) + 1)[0])
