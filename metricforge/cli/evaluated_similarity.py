"""Which ``--similarity`` of ``metricforge evaluate`` is a model's own."""

from __future__ import annotations

from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity

SIMILARITIES: dict[type[Similarity], str] = {
    CosineSimilarity: "cosine",
    EuclideanSimilarity: "euclidean",
    HammingSimilarity: "hamming",
}


def evaluated_similarity(similarity: Similarity) -> str | None:
    """The value of ``--similarity`` that compares as ``similarity`` does; None if there is none."""
    return SIMILARITIES.get(type(similarity))


def other_scores(similarity: Similarity) -> str:
    """Why ``metricforge evaluate`` does not give the scores of ``similarity``, which it does not have."""
    return (
        f"metricforge evaluate compares them by {', '.join(SIMILARITIES.values())}, not by "
        f"{type(similarity).__name__}, so it gives other scores"
    )
