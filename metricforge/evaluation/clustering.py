"""K-means, the clustering that NMI is measured on."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

KMEANS_ITERATIONS = 20


def kmeans_clusters(
    embeddings: np.ndarray[Any, np.dtype[np.float32]], clusters: int, seed: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Assigns each of ``embeddings`` (N, D) to one of ``clusters`` centroids: indices (N,).

    faiss's k-means on all N images, Euclidean, 20 iterations from one random start; the same for the same seed.

    Raises:
        ValueError: unless 1 <= ``clusters`` <= N.
    """
    if not 1 <= clusters <= len(embeddings):
        raise ValueError(f"clusters ({clusters}) must be in 1..{len(embeddings)}, the number of embeddings")
    kmeans = faiss.Kmeans(
        embeddings.shape[1],
        clusters,
        niter=KMEANS_ITERATIONS,
        nredo=1,
        seed=seed,
        spherical=False,
        min_points_per_centroid=1,
        max_points_per_centroid=len(embeddings),  # faiss would train on a sample otherwise
    )
    embeddings = np.ascontiguousarray(embeddings)
    kmeans.train(embeddings)
    _, assigned = kmeans.index.search(embeddings, 1)  # (N, 1)
    return assigned[:, 0]
