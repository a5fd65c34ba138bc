"""Scores embeddings from any tool: arrays or a file in, scores and their protocol out."""

from metricforge.measurement.embedding_file import read_embedding_file
from metricforge.measurement.evaluate_embeddings import DEFAULT_SCORES, Measurement, evaluate_embeddings
from metricforge.measurement.save_embeddings import save_embeddings
from metricforge.measurement.score_names import build_evaluators
from metricforge.measurement.tagged_embeddings import TaggedEmbeddings

__all__ = [
    "DEFAULT_SCORES",
    "Measurement",
    "TaggedEmbeddings",
    "build_evaluators",
    "evaluate_embeddings",
    "read_embedding_file",
    "save_embeddings",
]
