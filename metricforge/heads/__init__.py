"""From a backbone's features to embeddings."""

from metricforge.heads.embedding_head import EmbeddingHead

__all__ = ["EmbeddingHead"]
