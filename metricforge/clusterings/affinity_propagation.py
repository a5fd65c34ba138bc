"""Affinity propagation, with the preference that gives the wanted number of clusters."""

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
PATIENCE = 15  # iterations without another exemplar that end a run


class _Graph(NamedTuple):
    """What the messages run along: ``cluster`` makes clusters (N,) of a preference and says whether they settled.

    A preference of minus ``shortest`` gives nearly every image a cluster of its own. ``typical`` is the median squared
    distance to the nearest other image, about where images begin to share one.
    """

    cluster: Callable[[float], tuple[Indices, bool]]
    shortest: float
    typical: float


@CLUSTERINGS.register_module()
class AffinityPropagation(Clustering):
    """Affinity propagation (Frey and Dueck, Science 2007) by negative squared distances, as Song et al. (CVPR 2016) do.

    The number of clusters follows from the preference, which is doubled or halved until the number asked for is
    between two, then bisected, on a logarithmic scale, until there are as many or ``tries`` are used up; then the
    nearest number that was met is kept, of about equally near ones (to a twentieth of what was asked for) one whose
    messages settled within 200 iterations. Messages of a preference far from all similarities swing and may give more
    clusters than a larger one did: it is taken for too small. Identical images, whose messages would swing for ever,
    are one that weighs as much as all of them; so there are never more clusters than different images, and
    ``scores.json`` says how many there are where that is not what was wanted.

    By default all pairs are compared, by scikit-learn, which takes 40 N^2 bytes. With ``neighbours`` an image chooses
    its exemplar among so many nearest neighbours only, in memory and time that grow with N ``neighbours``. No cluster
    then reaches further than that: where classes have more images than ``neighbours``, more clusters than are wanted
    may remain.

    Args:
        neighbours: candidates an image, >= 1; None takes all.
        tries: preferences that are tried, >= 1.
        damping: share of a message's last value in its next one, 0.5 <= damping < 1; larger settles more surely and
            more slowly.

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
        similarities = -distances * counts[:, None]  # what all that are the same pay for an exemplar

        def cluster(preference: float) -> tuple[Indices, bool]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it did not settle is returned
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
    """The rows (U, D) that differ, in order of their first, which of them each row (N,) is, and how many are (U,).

    Rows that are the same might as well be each other's exemplar, so that their messages swing and never settle.
    """
    _, first, number, counts = np.unique(embeddings, axis=0, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)  # (U,)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return embeddings[first[order]], place[number.reshape(-1)], counts[order]


def _shortest_and_typical(distances: Floats) -> tuple[float, float]:
    """The least and the median squared distance to the nearest image that is no duplicate; both inf where none is.

    ``distances`` (N, L) are those of each image to the others, and to itself.
    """
    nearest = distances.min(axis=1, initial=np.inf, where=distances > 0)  # (N,)
    apart = nearest[np.isfinite(nearest)]
    return (float(apart.min()), float(np.median(apart))) if len(apart) else (math.inf, math.inf)


def _search_preference(graph: _Graph, clusters: int, tries: int, on_step: Callable[[int], object]) -> Indices:
    """The clusters of that preference, of ``tries``, whose number is nearest to ``clusters``."""
    many, few = math.log(graph.shortest / 2), math.inf  # logarithms of minus preferences, between which it is
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
        swings = any(found > fewer for place, fewer in found_at.items() if place < middle)
        found_at[middle] = found
        many, few = (middle, few) if found > clusters and not swings else (many, middle)
        middle = many + math.log(2) if few == math.inf else max((many + few) / 2, few - math.log(2))
    if best is None:
        raise ValueError(
            f"AffinityPropagation found no exemplar in {tries} tries; raise damping (0.9), or cluster by KMeans"
        )
    return best[1]


def _nearest_candidates(embeddings: Floats32, neighbours: int) -> tuple[Indices, Floats]:
    """Each image and its nearest others (N, 1 + ``neighbours``), with the squared distances to them."""
    count = len(embeddings)
    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(embeddings)
    distances, found = index.search(embeddings, neighbours + 1)  # (N, 1 + neighbours)
    others = found != np.arange(count)[:, None]
    others[others.all(axis=1), -1] = False  # as many duplicates have crowded the image itself out
    candidates = np.concatenate([np.arange(count)[:, None], found[others].reshape(count, neighbours)], axis=1)
    distances = distances[others].reshape(count, neighbours).clip(min=0)
    return candidates, np.concatenate([np.zeros((count, 1)), distances], axis=1)


def _assign_to_exemplars(embeddings: Floats32, counts: Indices, exemplars: Indices) -> Indices:
    """The cluster (N,) of each of ``embeddings``, which stand for ``counts`` (N,) images.

    That is its nearest exemplar, once each has moved to the centre of its cluster.
    """
    if not len(exemplars):
        return np.full(len(embeddings), -1)
    assigned = _nearest_exemplar(embeddings, exemplars)  # (N,)
    # The member of the least sum of squared distances to its cluster is the one nearest to the cluster's mean.
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
    assigned[exemplars] = np.arange(len(exemplars))  # also where it has a duplicate among them
    return assigned
