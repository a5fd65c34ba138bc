"""Similarities between embeddings, larger = more alike. Learned ones come as plug-ins."""

from metricforge.similarities.cosine_similarity import CosineSimilarity
from metricforge.similarities.euclidean_similarity import EuclideanSimilarity
from metricforge.similarities.hamming_similarity import HammingSimilarity

__all__ = ["CosineSimilarity", "EuclideanSimilarity", "HammingSimilarity"]
