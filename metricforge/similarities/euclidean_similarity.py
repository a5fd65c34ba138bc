"""The negative Euclidean distance of two embeddings."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.distances import pairwise_distances
from metricforge.interfaces import Similarity
from metricforge.registry import SIMILARITIES


@SIMILARITIES.register_module()
class EuclideanSimilarity(Similarity):
    """Minus the Euclidean distance (not squared) of embeddings as they are, at most 0; gradient 0 at duplicates."""

    search = "l2"
    symmetric = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -pairwise_distances(x, y)
