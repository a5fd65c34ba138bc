"""Exact nearest neighbours of embeddings, for every kind of similarity, in blocks."""
