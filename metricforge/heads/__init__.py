"""From a backbone's features to embeddings."""

from metricforge.heads.embedding_head import EmbeddingHead
from metricforge.heads.feature_and_head import FeatureAndHead

__all__ = ["EmbeddingHead", "FeatureAndHead"]
