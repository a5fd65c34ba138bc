"""K-means, the usual clustering for NMI."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

from metricforge.arrays import Floats32, Indices
from metricforge.common_offset import common_offset, without_offset
from metricforge.functional import check_at_least
from metricforge.interfaces import Clustering
from metricforge.registry import CLUSTERINGS

SMALLEST, LARGEST = 1e-12, 1e12  # of embeddings whose largest number is in between no square is lost


@CLUSTERINGS.register_module()
class KMeans(Clustering):
    """faiss's k-means on all images, Euclidean, from random starts: the same clusters for the same seed.

    Args:
        iterations: per start, >= 1.
        starts: how many random starts, >= 1; the one with the smallest sum of squared distances is kept (faiss's
            ``nredo``).
        spherical: normalise rows and centroids to length 1, which clusters directions.

    Raises:
        ValueError: for a number below 1.
    """

    def __init__(self, iterations: int = 20, starts: int = 1, spherical: bool = False) -> None:
        check_at_least("iterations", iterations, 1)
        check_at_least("starts", starts, 1)
        self.iterations = iterations
        self.starts = starts
        self.spherical = spherical

    @property
    def ignores_offset(self) -> bool:
        return not self.spherical

    def assign(
        self,
        embeddings: Floats32,
        clusters: int,
        seed: int,
        on_step: Callable[[int], object] = lambda count: None,
    ) -> Indices:
        if not 1 <= clusters <= len(embeddings):
            raise ValueError(f"clusters ({clusters}) must be in 1..{len(embeddings)}, the number of embeddings")
        offset = common_offset(embeddings) if self.ignores_offset else None
        embeddings = np.ascontiguousarray(embeddings) if offset is None else without_offset(embeddings, offset)
        embeddings = _in_range(embeddings)
        if self.spherical:
            embeddings = embeddings.copy()
            faiss.normalize_L2(embeddings)
        kmeans = faiss.Kmeans(
            embeddings.shape[1],
            clusters,
            niter=self.iterations,
            nredo=self.starts,
            seed=seed,
            spherical=self.spherical,
            min_points_per_centroid=1,
            max_points_per_centroid=len(embeddings),  # faiss would train on a sample otherwise
        )
        kmeans.train(embeddings)
        _, assigned = kmeans.index.search(embeddings, 1)  # (N, 1)
        on_step(1)
        return assigned[:, 0]

    def protocol(self) -> dict[str, object]:
        return {
            "method": "k-means",
            "iterations": self.iterations,
            "starts": self.starts,
            "spherical": self.spherical,
        }


def _in_range(embeddings: Floats32) -> Floats32:
    """``embeddings``, by a power of two larger or smaller where float32 does not hold the sums of their squares."""
    largest = float(max(embeddings.max(initial=0), -embeddings.min(initial=0)))
    if largest == 0 or SMALLEST < largest < LARGEST:
        return embeddings
    scaled: Floats32 = np.ldexp(embeddings, -int(np.frexp(largest)[1]))
    return scaled
