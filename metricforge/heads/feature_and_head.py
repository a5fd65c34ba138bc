"""A head's embedding and the feature it was made of, side by side."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from metricforge.functional.distances import in_float32, l2_normalize
from metricforge.interfaces import Head
from metricforge.registry import HEADS, Registry


@HEADS.register_module()
class FeatureAndHead(Head):
    """Features (B, F) to embeddings (B, F + D) of length 1: the feature and the embedding of ``head``, each normalised.

    Their cosine similarity is the mean of the cosine similarities of the two. A row of zeros stays zero.

    Args:
        feature_dim: F, filled in from the backbone.
        head: what makes the embeddings (B, D), such as ``dict(type="EmbeddingHead", dim=512)``.

    Raises:
        ConfigError: for a ``head`` that cannot be built.

    Examples:
        >>> from metricforge import HEADS
        >>> head = HEADS.build(
        ...     dict(type="FeatureAndHead", head=dict(type="EmbeddingHead", dim=128)),
        ...     feature_dim=512,
        ... )
        >>> head.dim
        640
    """

    nested: ClassVar[dict[str, Registry]] = {"head": HEADS}

    def __init__(self, feature_dim: int, head: Head) -> None:
        super().__init__()
        self.head = head
        self.dim = feature_dim + head.dim

    def forward(self, features: Tensor) -> Tensor:
        embeddings = self.head(features)  # (B, D)
        with torch.autocast(features.device.type, enabled=False):
            parts = [l2_normalize(in_float32(part)) for part in (features, embeddings)]
            return l2_normalize(torch.cat(parts, dim=1))  # (B, F + D)
