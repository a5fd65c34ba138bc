"""Embeddings that any tool made: labelled arrays, and the files that hold them."""

from metricforge.embedding_files.embedding_file import read_embedding_file
from metricforge.embedding_files.tagged_embeddings import TaggedEmbeddings

__all__ = ["TaggedEmbeddings", "read_embedding_file"]
