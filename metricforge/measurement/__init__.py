"""Scores embeddings from any tool: arrays or a file in, scores and their protocol out."""

from metricforge.embedding_files import TaggedEmbeddings, read_embedding_file
from metricforge.measurement.evaluate_embeddings import DEFAULT_SCORES, Measurement, evaluate_embeddings
from metricforge.measurement.save_embeddings import save_embeddings
from metricforge.measurement.score_names import build_evaluators

__all__ = [
    "DEFAULT_SCORES",
    "Measurement",
    "TaggedEmbeddings",
    "build_evaluators",
    "evaluate_embeddings",
    "read_embedding_file",
    "save_embeddings",
]
