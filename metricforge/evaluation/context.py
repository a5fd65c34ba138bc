"""What evaluators read: neighbours searched once and clusters computed once, for all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import numpy as np
import torch

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.common_offset import common_offset
from metricforge.evaluation.embedding_spread import EmbeddingSpread, embedding_spread
from metricforge.evaluation.search.exact_knn import exact_knn
from metricforge.evaluation.search.prepared_embeddings import is_prepared, prepared_embeddings
from metricforge.evaluation.search.retrieval_task import RetrievalTask
from metricforge.interfaces import Clustering, Similarity
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.registry import CLUSTERINGS
from metricforge.structures import EmbeddingSet

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]


@contextmanager
def no_progress(task: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show nothing."""
    yield lambda count: None


class _Neighbours:
    """The neighbours found so far, shared by all contexts of one ranking."""

    def __init__(self, search: Callable[[int], Indices]) -> None:
        self.search = search
        self.found: Indices | None = None  # (Q, k)
        self.nearest_labels: Indices | None = None  # (Q,), where something else than a search of neighbours found them


class EvaluationContext:
    """One ranking of a retrieval task, with its neighbours and its clusters cached.

    The similarity is copied as it is now, onto ``device`` and in evaluation mode, so that what is cached stays true
    when training goes on.

    Args:
        queries: the embedded images to search with.
        similarity: ranks the gallery for each query.
        gallery: the images to search. None searches the queries' own set, where each query is left out of its own
            neighbours by its id.
        shared_ids: whether an id names the same image in queries and gallery, so that a query that is in the gallery
            too is left out of its own neighbours. Otherwise ids of the two sets are not compared.
        seed: of the clustering.
        device: where the search is computed; embeddings stay on the host.
        scores_at_once: a search holds at most so many scores in memory, but no fewer than one query's.
        progress: called with the name of a task and its number of steps, opens a bar and gives the function that
            advances it.
        clustering: groups the queries; None: k-means.
        exclude: which gallery images are neither match nor non-match of a query; see ``RetrievalTask``.

    Raises:
        ValueError: for an empty set, queries and gallery of different dimensions, or ``scores_at_once`` below 1.
    """

    def __init__(
        self,
        queries: EmbeddingSet,
        similarity: Similarity,
        gallery: EmbeddingSet | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shared_ids: bool = False,
        scores_at_once: int = 2**25,
        progress: Progress = no_progress,
        clustering: Clustering | None = None,
        exclude: str | None = None,
    ) -> None:
        self.task = RetrievalTask(queries, gallery, shared_ids, exclude)
        if scores_at_once < 1:
            raise ValueError(f"scores_at_once must be at least 1, got {scores_at_once}; 2**25 takes some 200 MB")
        self.device = torch.device(device)
        self.similarity = copy.deepcopy(similarity).to(self.device).eval()
        self.seed = seed
        self.scores_at_once = scores_at_once
        self.progress = progress
        self.clustering: Clustering = CLUSTERINGS.build({"type": "KMeans"}) if clustering is None else clustering
        self.ranks_are_neighbours = False
        dimensions = queries.embeddings.shape[1]
        is_packed = self.similarity.search == "hamming"
        self.bytes_per_vector = dimensions // 8 if is_packed else dimensions * queries.embeddings.dtype.itemsize
        self._neighbours = _Neighbours(self._search)
        self._clusters: Indices | None = None
        self._related: dict[Hashable, EvaluationContext] = {}

    @property
    def queries(self) -> EmbeddingSet:
        """The images to search with."""
        return self.task.queries

    @property
    def gallery(self) -> EmbeddingSet:
        """The images to search."""
        return self.task.gallery

    @property
    def searches_itself(self) -> bool:
        """Whether queries and gallery are the same set."""
        return self.task.searches_itself

    @property
    def self_index(self) -> Indices:
        """The gallery index of each query itself (Q,), -1 for queries that are not in the gallery."""
        return self.task.self_index

    @property
    def matches(self) -> Indices:
        """How many gallery images are of each query's class (Q,), the query itself not counted."""
        return self.task.matches

    @property
    def gallery_size(self) -> int:
        """How many images every query can find."""
        return self.task.gallery_size

    def prefetch(self, k: int) -> None:
        """Search the ``k`` nearest neighbours unless as many are known; see ``neighbours``."""
        if self.known_neighbours < k or k < 1:
            self._neighbours.found = self._neighbours.search(k)

    def neighbours(self, k: int) -> Indices:
        """Gallery indices (Q, k) of each query's ``k`` nearest, best first, ties in the gallery's order.

        Raises:
            ValueError: for a ``k`` below 1 or above ``gallery_size``.
        """
        self.prefetch(k)
        assert self._neighbours.found is not None
        return self._neighbours.found[:, :k]

    @property
    def known_neighbours(self) -> int:
        """How many neighbours of each query have been searched so far."""
        return 0 if self._neighbours.found is None else self._neighbours.found.shape[1]

    def hits(self, k: int) -> Flags:
        """Whether each of the ``k`` neighbours is a match (Q, k)."""
        return self.gallery.labels[self.neighbours(k)] == self.queries.labels[:, None]

    @property
    def nearest_labels(self) -> Indices | None:
        """The class (Q,) of each query's nearest image; None where nothing has found it yet."""
        if self.known_neighbours:
            return self.gallery.labels[self.neighbours(1)[:, 0]]
        return self._neighbours.nearest_labels

    def keep_nearest_labels(self, labels: Indices) -> None:
        """Remember the class (Q,) of each query's nearest image, for ``nearest_labels``."""
        self._neighbours.nearest_labels = labels

    @cached_property
    def spread(self) -> EmbeddingSpread:
        """How much of the space the queries' embeddings take."""
        return embedding_spread(self.queries.embeddings)

    def warn_of_collapse(self) -> None:
        """Warn with ``CollapsedEmbeddingsWarning`` where what is compared is nearly all the same, or on one line."""
        if len(self.queries) > 1 and self.similarity.search != "hamming":  # signs need no spread
            self.spread.warn_of_collapse(self.queries.embeddings.shape[1], len(self.queries))

    def clusters(self) -> Indices:
        """The cluster (Q,) of each query by ``clustering``, asked once for as many as the queries have classes."""
        if self._clusters is None:
            rows = self._rows_to_cluster()  # (Q, D)
            rows.flags.writeable = False  # they may be those of the queries themselves
            with self.progress(f"clustering by {type(self.clustering).__name__}", self.clustering.steps) as advance:
                self._clusters = self.clustering.assign(rows, self.task.num_classes, self.seed, advance)
        return self._clusters

    def _rows_to_cluster(self) -> Floats32:
        given, similarity = self.queries.embeddings, self.similarity
        rows: Floats32 = prepared_embeddings(given, similarity, self.device).cpu().numpy()  # (Q, D)
        was_rounded = not is_prepared(given, similarity)
        offset = common_offset(rows) if was_rounded and self.clustering.ignores_offset else None
        if offset is not None:  # nearly the same: what tells them apart is rounded by itself
            centre = torch.from_numpy(offset).to(self.device)  # (D,)
            rows = prepared_embeddings(given, similarity, self.device, centre).cpu().numpy()
        return rows

    @property
    def clusters_found(self) -> int | None:
        """How many clusters there are; None where no score has asked for them."""
        return None if self._clusters is None else len(np.unique(self._clusters))

    def clustering_protocol(self) -> dict[str, object]:
        """How ``clusters`` come about, for ``scores.json``."""
        return {**self.clustering.protocol(), "clusters": self.task.num_classes, "seed": self.seed}

    def related(self, key: Hashable, make: Callable[[], EvaluationContext]) -> EvaluationContext:
        """What ``make`` gives the first time that ``key`` is asked for: contexts beside this one keep their caches."""
        if key not in self._related:
            self._related[key] = make()
        return self._related[key]

    def by(self, similarity: Similarity) -> EvaluationContext:
        """The same task by another ``similarity``; the same object gives the same context."""
        return self.related(similarity, lambda: self.replaced(similarity=similarity))

    def clustered_by(self, clustering: Clustering) -> EvaluationContext:
        """The same ranking with another ``clustering``; neighbours are shared with this one."""

        def make() -> EvaluationContext:
            other = self.replaced(clustering=clustering)
            other._neighbours, other.ranks_are_neighbours = self._neighbours, self.ranks_are_neighbours
            other.bytes_per_vector = self.bytes_per_vector
            return other

        return self.related(clustering, make)

    def with_neighbours(self, search: Callable[[int], Indices]) -> EvaluationContext:
        """The same task whose neighbours (Q, k) are what ``search(k)`` gives; ranks are read from them alone."""
        other = self.replaced()
        other._neighbours, other.ranks_are_neighbours = _Neighbours(search), True
        return other

    def replaced(
        self,
        *,
        queries: EmbeddingSet | None = None,
        gallery: EmbeddingSet | None = None,
        similarity: Similarity | None = None,
        clustering: Clustering | None = None,
    ) -> EvaluationContext:
        """A new context with the settings of this one and whatever is given in place of its own."""
        own_gallery = None if self.searches_itself else self.gallery
        return EvaluationContext(
            self.queries if queries is None else queries,
            self.similarity if similarity is None else similarity,
            own_gallery if gallery is None else gallery,
            self.seed,
            self.device,
            self.task.shared_ids,
            self.scores_at_once,
            self.progress,
            self.clustering if clustering is None else clustering,
            self.task.exclude,
        )

    def _search(self, k: int) -> Indices:
        # Of the k + spare nearest, no query leaves out more than spare.
        task = self.task
        spare = len(task.gallery) - task.gallery_size - task.searches_itself
        if spare and not 1 <= k <= task.gallery_size:
            raise ValueError(
                f"k ({k}) must be in 1..{task.gallery_size}: the gallery has {len(task.gallery)} images, of which a "
                f"query leaves out up to {len(task.gallery) - task.gallery_size}, itself among them if it is there"
            )
        with self.progress(f"searching by {type(self.similarity).__name__}", len(task.queries)) as advance:
            found = exact_knn(
                task.query_embeddings,
                task.gallery.embeddings,
                self.similarity,
                k + spare,
                device=self.device,
                scores_at_once=self.scores_at_once,
                on_queries=advance,
            )
        return found if not spare else nearest_kept(task, found, k)


def full_context(context: ReadableContext) -> EvaluationContext:
    """Return ``context`` with all that core evaluators use, which is more than evaluators of plug-ins may read.

    Raises:
        TypeError: for another implementation of the contract.
    """
    if not isinstance(context, EvaluationContext):
        raise TypeError(
            f"context must be a metricforge.evaluation.EvaluationContext, got {type(context).__name__}; "
            "evaluators of MetricForge read more of it than the contract lists"
        )
    return context


def nearest_kept(task: RetrievalTask, found: Indices, k: int) -> Indices:
    """The first ``k`` of ``found`` (Q, k + spare), best first, that each query does not leave out."""
    left_out = task.is_left_out(np.arange(len(found)), found)  # (Q, k + spare)
    kept = np.argsort(left_out, axis=1, kind="stable")[:, :k]  # those that stay, in their order, come first
    return np.take_along_axis(found, kept, axis=1)
