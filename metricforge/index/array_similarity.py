"""Similarities of plain arrays, for searching where PyTorch need not be there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from metricforge.arrays import Floats32

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

OF_ARRAYS = "OfArrays"
TINY = 1e-12  # the least length that a vector is divided by


class ArraySimilarity(ABC):
    """A ``Similarity`` of arrays: ``search`` names the structure that finds its neighbours after ``prepare``."""

    search: str | None

    @abstractmethod
    def prepare(self, vectors: Floats32) -> Floats32:
        """Map ``vectors`` (n, D) into the space (n, D') in which ``search`` ranks as ``scores`` does."""

    @abstractmethod
    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        """The similarities (n,) of ``query`` (D,) and each of ``vectors`` (n, D), larger = more alike."""


class CosineOfArrays(ArraySimilarity):
    """``CosineSimilarity`` without PyTorch, the same up to rounding."""

    search = "ip"

    def prepare(self, vectors: Floats32) -> Floats32:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        rows: Floats32 = vectors / np.maximum(lengths, np.float32(TINY))
        return rows

    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        found: Floats32 = self.prepare(vectors) @ self.prepare(query[None])[0]
        return found


class EuclideanOfArrays(ArraySimilarity):
    """``EuclideanSimilarity`` without PyTorch, the same up to rounding."""

    search = "l2"

    def prepare(self, vectors: Floats32) -> Floats32:
        return vectors

    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        return -np.linalg.norm(vectors - query, axis=1).astype(np.float32)


class HammingOfArrays(ArraySimilarity):
    """``HammingSimilarity`` without PyTorch."""

    search = "hamming"

    def prepare(self, vectors: Floats32) -> Floats32:
        return vectors

    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        return -((vectors > 0) != (query > 0)).sum(axis=1).astype(np.float32)


class LearnedByGraph(ArraySimilarity):
    """A learned similarity as its exported graph computes it; a shortlist by distance is put in its order.

    Args:
        graph: embeddings x (N, D) and y (M, D) to similarities (N, M).
    """

    search = None

    def __init__(self, graph: Callable[[Floats32, Floats32], Any]) -> None:
        self._graph = graph

    def prepare(self, vectors: Floats32) -> Floats32:
        return vectors

    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        return np.asarray(self._graph(query[None], vectors), dtype=np.float32)[0]


class OfTensors(ArraySimilarity):
    """A similarity of tensors as it is, to the last bit, with arrays on its outside."""

    def __init__(self, similarity: Similarity) -> None:
        self._similarity = similarity
        self.search = similarity.search

    def prepare(self, vectors: Floats32) -> Floats32:
        import torch  # whose caller has imported it already

        with torch.inference_mode():
            rows: Floats32 = self._similarity.prepare(torch.tensor(vectors)).numpy()
        return rows

    def scores(self, query: Floats32, vectors: Floats32) -> Floats32:
        import torch

        with torch.inference_mode():
            found = self._similarity.pairwise(torch.from_numpy(query)[None], torch.tensor(vectors))
        scores: Floats32 = found[0].numpy()
        return scores


WITHOUT_WEIGHTS: dict[str, Callable[[], ArraySimilarity]] = {
    "CosineSimilarity": CosineOfArrays,
    "EuclideanSimilarity": EuclideanOfArrays,
    "HammingSimilarity": HammingOfArrays,
}


def name_of(similarity: Similarity | ArraySimilarity) -> str:
    """What a config calls ``similarity``: of one for arrays, the name of that of tensors."""
    name = type(similarity).__name__
    return f"{name.removesuffix(OF_ARRAYS)}Similarity" if name.endswith(OF_ARRAYS) else name


def of_arrays(similarity: Similarity | ArraySimilarity) -> ArraySimilarity:
    """``similarity`` for arrays."""
    return similarity if isinstance(similarity, ArraySimilarity) else OfTensors(similarity)
