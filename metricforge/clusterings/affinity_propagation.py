"""Affinity propagation with a search for the preference that gives the wanted number of clusters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np
from sklearn.cluster import affinity_propagation
from sklearn.metrics import euclidean_distances

from metricforge.arrays import Floats, Floats32, Indices
from metricforge.clusterings.message_passing import find_exemplars
from metricforge.common_offset import without_offset
from metricforge.functional import check_at_least
from metricforge.interfaces import Clustering
from metricforge.registry import CLUSTERINGS

MOST_IMAGES = 10_000  # five N x N arrays of doubles: 4 GB
ITERATIONS = 200
PATIENCE = 15  # iterations without a change of exemplars that end a run


class _Graph(NamedTuple):
    """Images to cluster: ``cluster`` turns a preference into clusters (N,), and tells whether the messages converged.

    A preference of minus ``shortest`` gives nearly every image a cluster of its own. ``typical`` is the median squared
    distance to the nearest other image, about where images begin to share a cluster.
    """

    cluster: Callable[[float], tuple[Indices, bool]]
    shortest: float
    typical: float


@CLUSTERINGS.register_module()
class AffinityPropagation(Clustering):
    """Affinity propagation (Frey and Dueck, Science 2007) by negative squared distances, as Song et al. (CVPR 2016) do.

    The preference determines the number of clusters. It is doubled or halved until the wanted number is bracketed, then
    bisected on a logarithmic scale until the number is reached or ``tries`` are used up. The closest result is kept;
    among results about equally close (within a twentieth of the wanted number), one whose messages converged within 200
    iterations. Messages under a preference far from all similarities oscillate and may give more clusters than a larger
    preference did: it is then treated as too small. Identical images, whose messages would oscillate forever, are
    merged into one with the weight of all; so there are never more clusters than distinct images, and ``scores.json``
    records the number found where it differs from the wanted one.

    By default scikit-learn compares all pairs, which takes 40 N^2 bytes. With ``neighbours`` each image chooses its
    exemplar among that many nearest neighbours only, in memory and time proportional to N ``neighbours``. This limits
    the reach of a cluster: where classes have more images than ``neighbours``, more clusters than wanted may remain.

    Args:
        neighbours: candidates per image, >= 1; None: all images.
        tries: how many preferences to try, >= 1.
        damping: the weight of a message's previous value in its next one, 0.5 <= damping < 1; larger values converge
            more reliably and more slowly.

    Raises:
        ValueError: for arguments outside these ranges; when clustering, for more than 10,000 images without
            ``neighbours``, or where no try found an exemplar.
    """

    def __init__(self, neighbours: int | None = None, tries: int = 20, damping: float = 0.7) -> None:
        if neighbours is not None:
            check_at_least("neighbours", neighbours, 1)
        check_at_least("tries", tries, 1)
        if not 0.5 <= damping < 1:
            raise ValueError(f"damping must be in 0.5 <= damping < 1, got {damping}; 0.9 settles most surely")
        self.neighbours = neighbours
        self.tries = tries
        self.damping = damping
        self.steps = tries

    @property
    def ignores_offset(self) -> bool:
        return True

    def assign(
        self,
        embeddings: Floats32,
        clusters: int,
        seed: int,
        on_step: Callable[[int], object] = lambda count: None,
    ) -> Indices:
        count = len(embeddings)
        if not 1 <= clusters <= count:
            raise ValueError(f"clusters ({clusters}) must be in 1..{count}, the number of embeddings")
        if self.neighbours is None and count > MOST_IMAGES:
            raise ValueError(
                f"AffinityPropagation compares all pairs of at most {MOST_IMAGES:,} images, got {count:,}, for which "
                f"that takes {40 * count**2 / 1e9:.0f} GB; set neighbours, such as neighbours=100"
            )
        embeddings = without_offset(embeddings, embeddings.mean(axis=0, dtype=np.float64))  # keeps float32 sharp
        graph = self._few_pairs(embeddings, seed) if self.neighbours else self._all_pairs(embeddings, seed)
        if not np.isfinite(graph.shortest):  # all images are the same
            return np.zeros(count, dtype=np.int64)
        return _search_preference(graph, clusters, self.tries, on_step)

    def protocol(self) -> dict[str, object]:
        return {
            "method": "affinity propagation",
            "candidates": "all images" if self.neighbours is None else f"{self.neighbours} nearest neighbours",
            "tries": self.tries,
            "damping": self.damping,
        }

    def _all_pairs(self, embeddings: Floats32, seed: int) -> _Graph:
        rows, number, counts = _distinct(embeddings)
        distances = euclidean_distances(rows.astype(np.float64), squared=True)  # (U, U)
        similarities = -distances * counts[:, None]  # identical images all pay for their exemplar

        def cluster(preference: float) -> tuple[Indices, bool]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # non-convergence is returned
                _, assigned, iterations = affinity_propagation(
                    similarities,
                    preference=preference,
                    damping=self.damping,
                    max_iter=ITERATIONS,
                    convergence_iter=PATIENCE,
                    random_state=seed,
                    return_n_iter=True,
                )
            return assigned[number], iterations < ITERATIONS

        return _Graph(cluster, *_shortest_and_typical(distances))

    def _few_pairs(self, embeddings: Floats32, seed: int) -> _Graph:
        assert self.neighbours is not None
        rows, number, counts = _distinct(embeddings)
        candidates, distances = _nearest_candidates(rows, min(self.neighbours, len(rows) - 1))  # (U, L)

        def cluster(preference: float) -> tuple[Indices, bool]:
            similarities = -distances * counts[:, None]
            similarities[:, 0] = preference
            exemplars, settled = find_exemplars(similarities, candidates, self.damping, ITERATIONS, PATIENCE, seed)
            return _assign_to_exemplars(rows, counts, np.flatnonzero(exemplars))[number], settled

        return _Graph(cluster, *_shortest_and_typical(distances))


def _distinct(embeddings: Floats32) -> tuple[Floats32, Indices, Indices]:
    """Return the distinct rows (U, D) by first occurrence, the distinct row of each (N,), and their counts (U,).

    Identical rows could equally be each other's exemplar, so their messages would oscillate forever.
    """
    _, first, number, counts = np.unique(embeddings, axis=0, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)  # (U,)
    index = np.empty_like(order)  # of each distinct row in this order
    index[order] = np.arange(len(order))
    return embeddings[first[order]], index[number.reshape(-1)], counts[order]


def _shortest_and_typical(distances: Floats) -> tuple[float, float]:
    """Return the least and median squared distance to the nearest distinct image; both inf where there is none.

    ``distances`` (N, L) are those of each image to the others, and to itself.
    """
    nearest = distances.min(axis=1, initial=np.inf, where=distances > 0)  # (N,)
    apart = nearest[np.isfinite(nearest)]
    return (float(apart.min()), float(np.median(apart))) if len(apart) else (math.inf, math.inf)


def _search_preference(graph: _Graph, clusters: int, tries: int, on_step: Callable[[int], object]) -> Indices:
    """Cluster under up to ``tries`` preferences; return the result whose number is closest to ``clusters``."""
    many, few = math.log(graph.shortest / 2), math.inf  # bounds on the logarithm of minus the preference
    middle = max(math.log(graph.typical), many)
    best: tuple[tuple[int, bool, int], Indices] | None = None
    found_at: dict[float, int] = {}
    for _ in range(tries):
        assigned, settled = graph.cluster(-math.exp(middle))
        found = int(assigned.max(initial=-1)) + 1
        on_step(1)
        miss = abs(found - clusters)
        rank = (20 * miss // clusters, not settled, miss)
        if found and (best is None or rank < best[0]):
            best = rank, assigned
        if settled and found == clusters:
            break
        swings = any(found > fewer for logarithm, fewer in found_at.items() if logarithm < middle)
        found_at[middle] = found
        many, few = (middle, few) if found > clusters and not swings else (many, middle)
        middle = many + math.log(2) if few == math.inf else max((many + few) / 2, few - math.log(2))
    if best is None:
        raise ValueError(
            f"AffinityPropagation found no exemplar in {tries} tries; raise damping (0.9), or cluster by KMeans"
        )
    return best[1]


def _nearest_candidates(embeddings: Floats32, neighbours: int) -> tuple[Indices, Floats]:
    """Return each image and its nearest others (N, 1 + ``neighbours``), with the squared distances to them."""
    count = len(embeddings)
    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(embeddings)
    distances, found = index.search(embeddings, neighbours + 1)  # (N, 1 + neighbours)
    others = found != np.arange(count)[:, None]
    others[others.all(axis=1), -1] = False  # duplicates have crowded out the image itself
    candidates = np.concatenate([np.arange(count)[:, None], found[others].reshape(count, neighbours)], axis=1)
    distances = distances[others].reshape(count, neighbours).clip(min=0)
    return candidates, np.concatenate([np.zeros((count, 1)), distances], axis=1)


def _assign_to_exemplars(embeddings: Floats32, counts: Indices, exemplars: Indices) -> Indices:
    """Assign each of ``embeddings``, which stand for ``counts`` (N,) images, to a cluster (N,).

    That is its nearest exemplar, once each exemplar has moved to the centre of its cluster.
    """
    if not len(exemplars):
        return np.full(len(embeddings), -1)
    assigned = _nearest_exemplar(embeddings, exemplars)  # (N,)
    # The member with the least sum of squared distances to its cluster is the one nearest to the cluster's mean.
    sizes = np.bincount(assigned, counts, minlength=len(exemplars))
    means = np.zeros((len(exemplars), embeddings.shape[1]))
    np.add.at(means, assigned, embeddings * counts[:, None])
    means /= sizes[:, None]
    off_centre = np.square(embeddings - means[assigned]).sum(axis=1)  # (N,)
    by_cluster = np.lexsort((off_centre, assigned))
    first = np.searchsorted(assigned[by_cluster], np.arange(len(exemplars)))
    return _nearest_exemplar(embeddings, by_cluster[first])


def _nearest_exemplar(embeddings: Floats32, exemplars: Indices) -> Indices:
    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(np.ascontiguousarray(embeddings[exemplars]))
    _, nearest = index.search(embeddings, 1)  # (N, 1)
    assigned = nearest[:, 0]
    assigned[exemplars] = np.arange(len(exemplars))  # even where another exemplar is a duplicate
    return assigned
