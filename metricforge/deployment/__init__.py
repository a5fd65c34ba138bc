"""From a checkpoint to something people use: one embedding model, in Python and as a bundle of files."""

from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.load_model import load_model

__all__ = ["EmbeddingModel", "load_model"]
