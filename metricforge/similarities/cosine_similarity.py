"""The cosine of the angle between two embeddings."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.distances import l2_normalize, pairwise_cosine
from metricforge.interfaces import Similarity
from metricforge.registry import SIMILARITIES


@SIMILARITIES.register_module()
class CosineSimilarity(Similarity):
    """Inner product of L2-normalised embeddings, in -1..1. A zero embedding is at 0 from everything."""

    search = "ip"
    symmetric = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return pairwise_cosine(x, y)

    def prepare(self, embeddings: Tensor) -> Tensor:
        return l2_normalize(embeddings)
