"""What is recorded as graphs: prepared pixels to embeddings, and two sets of embeddings to their similarities."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from metricforge.interfaces import Similarity
from metricforge.models import MetricLearner


class EmbeddingGraph(nn.Module):
    """Normalised pixels (B, 3, H, W) float32 to embeddings (B, D) float32, by copies of backbone and head."""

    def __init__(self, learner: MetricLearner) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(learner.backbone).cpu().eval()
        self.head = copy.deepcopy(learner.head).cpu().eval()

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings: Tensor = self.head(self.backbone(pixels)).float()
        return embeddings


class SimilarityGraph(nn.Module):
    """Embeddings (N, D) and (M, D) to their similarities (N, M) by a learned similarity."""

    def __init__(self, similarity: Similarity) -> None:
        super().__init__()
        self.similarity = copy.deepcopy(similarity).cpu().eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scores: Tensor = self.similarity.pairwise(x, y).float()
        return scores


def is_learned(similarity: Similarity) -> bool:
    """Whether ``similarity`` has weights, so that no formula in a description can stand for it."""
    return any(True for _ in similarity.parameters()) or any(True for _ in similarity.buffers())


def normalised(images: Tensor, learner: MetricLearner) -> Tensor:
    """Prepared ``images`` (B, 3, H, W) uint8 as ``EmbeddingGraph`` takes them."""
    return learner.backbone.prepare(images.cpu())
