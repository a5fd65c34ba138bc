"""What evaluators read: neighbours searched once and clusters computed once, for all of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from metricforge.arrays import Array, Flags, Indices
from metricforge.clusterings import KMeans
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks, is_read_from_neighbours, match_ranks
from metricforge.evaluation.search.exact_knn import exact_knn
from metricforge.evaluation.search.prepared_embeddings import prepared_embeddings
from metricforge.evaluation.spaces import FittingSet, Space
from metricforge.interfaces import Clustering, Evaluator, Similarity
from metricforge.structures import EmbeddingSet

if TYPE_CHECKING:
    from metricforge.evaluation.evaluator import RankEvaluator

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]


@contextmanager
def no_progress(task: str, total: int) -> Iterator[Callable[[int], object]]:
    """Shows nothing."""
    yield lambda count: None


class EvaluationContext:
    """One retrieval and clustering experiment: queries, what they are searched in, and the similarity.

    The similarity is copied as it is now, onto ``device`` and in evaluation mode, so that what is cached stays true
    when training goes on.

    Args:
        queries: the embedded images to search with.
        similarity: ranks the gallery for each query.
        gallery: the images to search. None searches the queries' own set, each query left out of its own neighbours by
            its id.
        shared_ids: whether an id names the same image in queries and gallery, so that a query that stands in the
            gallery too is left out of its own neighbours. Otherwise ids of the two sets are not compared.
        seed: of the clustering.
        device: where the search is computed; embeddings stay on the host.
        scores_at_once: a search holds at most so many scores in memory, but no fewer than one query's.
        progress: called with the name of a task and its number of steps, opens a bar and gives the function that
            advances it.
        clustering: what clusters the queries; None: ``KMeans()``.

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
    ) -> None:
        if gallery is queries:
            raise ValueError("gallery is the query set itself; leave it out, so that no query finds itself")
        for name, images in (("queries", queries), ("gallery", gallery)):
            if images is not None and not len(images):
                raise ValueError(f"{name} must hold at least one embedding, got shape {images.embeddings.shape}")
        if gallery is not None and gallery.embeddings.shape[1] != queries.embeddings.shape[1]:
            raise ValueError(
                f"gallery has {gallery.embeddings.shape[1]} dimensions and queries {queries.embeddings.shape[1]}; "
                "embed both with the same model"
            )
        if scores_at_once < 1:
            raise ValueError(f"scores_at_once must be at least 1, got {scores_at_once}; 2**25 takes some 200 MB")
        self.queries = queries
        self.gallery = queries if gallery is None else gallery
        self.searches_itself = gallery is None
        self.shared_ids = shared_ids or self.searches_itself
        self.device = torch.device(device)
        self.similarity = copy.deepcopy(similarity).to(self.device).eval()
        self.seed = seed
        self.scores_at_once = scores_at_once
        self.progress = progress
        self.clustering = KMeans() if clustering is None else clustering
        self._others: dict[Similarity | Clustering, EvaluationContext] = {}
        # by identity, for an evaluator need not be hashable; each is kept, so that no other gets its identity
        self._per_query: dict[int, tuple[Evaluator, dict[str, Array]]] = {}
        self._score_names: dict[int, tuple[Evaluator, tuple[str, ...]]] = {}
        self._spaces: dict[tuple[str, FittingSet | None], EvaluationContext] = {}
        self._stored_bytes: int | None = None
        self._neighbours: Indices = np.empty((len(queries), 0), dtype=np.int64)

    def by(self, similarity: Similarity) -> EvaluationContext:
        """The same experiment by another ``similarity``; the same object gives the same context, with what it knows."""
        if similarity not in self._others:
            gallery = None if self.searches_itself else self.gallery
            self._others[similarity] = self._with(self.queries, gallery, similarity)
        return self._others[similarity]

    def _with(self, queries: EmbeddingSet, gallery: EmbeddingSet | None, similarity: Similarity) -> EvaluationContext:
        """An experiment of its own on other sets or by another similarity, with the settings of this one."""
        return EvaluationContext(
            queries,
            similarity,
            gallery,
            self.seed,
            self.device,
            self.shared_ids,
            self.scores_at_once,
            self.progress,
            self.clustering,
        )

    def clustered_by(self, clustering: Clustering) -> EvaluationContext:
        """The same experiment with another ``clustering``, with what this one knows of neighbours."""
        if clustering not in self._others:
            other = copy.copy(self)
            other.clustering = clustering
            other._others, other._spaces, other._score_names = {}, {}, {}
            other.__dict__.pop("_clusters", None)
            self._others[clustering] = other
        return self._others[clustering]

    def in_space(self, space: Space) -> EvaluationContext:
        """The same experiment on what ``space`` makes of the embeddings, once for each space and what it is fitted on.

        Raises:
            ValueError: for what ``space.transformed`` refuses, or a similarity with weights, which know all dimensions.
        """
        key = space.name, space.fit_on
        if key not in self._spaces:
            weights = sum(parameter.numel() for parameter in self.similarity.parameters())
            if weights:
                raise ValueError(
                    f'space "{space.name}" needs a similarity without weights, got {type(self.similarity).__name__} '
                    f"with {weights} that were trained on other dimensions"
                )
            embeddings = space.transformed(
                self.queries.embeddings, None if self.searches_itself else self.gallery.embeddings, self.seed
            )
            queries, gallery = (
                None if rows is None else EmbeddingSet(rows, images.labels, images.ids, images.class_names)
                for rows, images in zip(embeddings, (self.queries, self.gallery), strict=True)
            )
            assert queries is not None
            self._spaces[key] = self._with(queries, gallery, self.similarity)
            if self.similarity.search != "hamming":
                dimensions, item = self.queries.embeddings.shape[1], self.queries.embeddings.dtype.itemsize
                self._spaces[key]._stored_bytes = space.bytes_per_vector(dimensions, item)
        return self._spaces[key]

    @property
    def bytes_per_vector(self) -> int:
        """What one embedding takes in the form it is kept in: packed bits, a space's numbers, or floats as given."""
        if self._stored_bytes is not None:
            return self._stored_bytes
        dimensions = self.queries.embeddings.shape[1]
        if self.similarity.search == "hamming":
            return dimensions // 8
        return dimensions * self.queries.embeddings.dtype.itemsize

    @property
    def gallery_size(self) -> int:
        """How many images every query can find: the gallery, less one where a query is in there itself."""
        return len(self.gallery) - bool((self.self_index >= 0).any())

    @cached_property
    def self_index(self) -> Indices:
        """Where each query stands in the gallery (Q,), -1 for those that do not."""
        if self.searches_itself:
            return np.arange(len(self.queries))
        if not self.shared_ids:
            return np.full(len(self.queries), -1)
        assert self.queries.ids is not None
        assert self.gallery.ids is not None
        order = np.argsort(self.gallery.ids)
        place = np.searchsorted(self.gallery.ids, self.queries.ids, sorter=order).clip(max=len(order) - 1)
        place = order[place]  # (Q,)
        return np.where(self.gallery.ids[place] == self.queries.ids, place, -1)

    def prefetch(self, k: int) -> None:
        """Searches the ``k`` nearest neighbours unless as many are known; see ``neighbours``."""
        if self._neighbours.shape[1] < k or k < 1:
            self._neighbours = self._search(k)

    def _search(self, k: int) -> Indices:
        # A query of the gallery is among its own k + 1 nearest, or k + 1 others are at least as near.
        spare = 0 if self.searches_itself else len(self.gallery) - self.gallery_size
        if spare and not 1 <= k <= self.gallery_size:
            raise ValueError(
                f"k ({k}) must be in 1..{self.gallery_size}: the gallery has {len(self.gallery)} images, "
                "one of them the query itself"
            )
        with self.progress(f"searching by {type(self.similarity).__name__}", len(self.queries)) as advance:
            found = exact_knn(
                None if self.searches_itself else self.queries.embeddings,
                self.gallery.embeddings,
                self.similarity,
                k + spare,
                device=self.device,
                scores_at_once=self.scores_at_once,
                on_queries=advance,
            )
        if spare:
            others = found != self.self_index[:, None]  # (Q, k + 1)
            others[others.all(axis=1), -1] = False
            found = found[others].reshape(len(found), k)
        return found

    def neighbours(self, k: int) -> Indices:
        """Gallery indices (Q, k) of each query's ``k`` nearest, best first, ties in the gallery's order.

        Raises:
            ValueError: for a ``k`` below 1 or above ``gallery_size``.
        """
        self.prefetch(k)
        return self._neighbours[:, :k]

    @property
    def known_neighbours(self) -> int:
        """How many neighbours a query have been searched so far."""
        return self._neighbours.shape[1]

    def hits(self, k: int) -> Flags:
        """Whether each of the ``k`` neighbours is of the query's class (Q, k)."""
        return self.gallery.labels[self.neighbours(k)] == self.queries.labels[:, None]

    @cached_property
    def matches(self) -> Indices:
        """How many gallery images are of each query's class (Q,), the query itself not counted."""
        classes, counts = np.unique(self.gallery.labels, return_counts=True)
        place = np.searchsorted(classes, self.queries.labels).clip(max=len(classes) - 1)  # (Q,)
        found = classes[place] == self.queries.labels
        return np.where(found, counts[place], 0).astype(np.int64) - (self.self_index >= 0)

    @property
    def queries_without_match(self) -> int:
        """How many queries have nothing to find, and are left out of every retrieval score."""
        return int((self.matches == 0).sum())

    def mean_over_queries(self, values: Array) -> float:
        """The mean of one value a query (Q,) over the queries that have a match, in float64.

        Raises:
            ValueError: if no query has one.
        """
        answerable = self.matches > 0
        if not answerable.any():
            raise ValueError(
                f"none of the {len(self.queries)} queries has another image of its class in the gallery, so no "
                "retrieval score is defined; check the labels, or evaluate on classes of two images and more"
            )
        return float(values[answerable].mean(dtype=np.float64))

    def per_query(self, evaluator: Evaluator) -> dict[str, Array]:
        """``evaluator.per_query`` of this context, computed once."""
        if id(evaluator) not in self._per_query:
            self._per_query[id(evaluator)] = evaluator, evaluator.per_query(self)
        return self._per_query[id(evaluator)][1]

    def note_scores(self, evaluator: Evaluator, names: Iterable[str]) -> None:
        """Notes for the protocol that ``evaluator`` gave the scores ``names``."""
        self._score_names[id(evaluator)] = evaluator, tuple(names)

    def score_names(self, evaluator: Evaluator) -> tuple[str, ...]:
        """The scores that ``evaluator`` gave here; none before it was asked."""
        return self._score_names.get(id(evaluator), (evaluator, ()))[1]

    def read_ranks(self, evaluators: Sequence[RankEvaluator]) -> None:
        """Finds the ranks of the right images once, and has all ``evaluators`` read them, but those that have."""
        waiting = [evaluator for evaluator in evaluators if id(evaluator) not in self._per_query]
        if not waiting:
            return
        depth = self._depth(waiting)
        values: list[dict[str, list[Array]]] = [{} for _ in waiting]
        for ranks in self._match_ranks(depth):
            for evaluator, its_values in zip(waiting, values, strict=True):
                for name, block in evaluator.from_ranks(ranks).items():
                    its_values.setdefault(name, []).append(block)
        for evaluator, its_values in zip(waiting, values, strict=True):
            whole = {name: np.concatenate(blocks) for name, blocks in its_values.items()}
            self._per_query[id(evaluator)] = evaluator, whole

    def neighbours_for_ranks(self, evaluators: Sequence[RankEvaluator]) -> int:
        """How many neighbours ``read_ranks`` would ask for: 0 where the ranks are counted without any."""
        depth = self._depth(evaluators)
        return depth.largest(self) if evaluators and is_read_from_neighbours(self, depth) else 0

    def _depth(self, evaluators: Sequence[RankEvaluator]) -> Depth:
        return functools.reduce(Depth.joined, (evaluator.ranks_needed(self) for evaluator in evaluators), Depth())

    def values_from_ranks(self, evaluator: RankEvaluator) -> dict[str, Array]:
        """What ``evaluator`` read from the ranks (Q,), by name; they are found now unless ``read_ranks`` has."""
        self.read_ranks([evaluator])
        return self._per_query[id(evaluator)][1]

    def _match_ranks(self, depth: Depth) -> Iterator[MatchRanks]:
        with self.progress(f"ranking by {type(self.similarity).__name__}", len(self.queries)) as advance:
            yield from match_ranks(self, depth, advance)

    @property
    def num_classes(self) -> int:
        """Classes among the queries."""
        return len(np.unique(self.queries.labels))

    def clusters(self) -> Indices:
        """The cluster (Q,) of each query by ``clustering``, asked for as many as the queries have classes, once."""
        return self._clusters

    @cached_property
    def _clusters(self) -> Indices:
        embeddings = prepared_embeddings(self.queries.embeddings, self.similarity, self.device).cpu().numpy()  # (Q, D)
        embeddings.flags.writeable = False  # they may be those of the queries themselves
        with self.progress(f"clustering by {type(self.clustering).__name__}", self.clustering.steps) as advance:
            return self.clustering.assign(embeddings, self.num_classes, self.seed, advance)

    @property
    def clusters_found(self) -> int | None:
        """How many clusters there are; None where no score has asked for them."""
        return len(np.unique(self._clusters)) if "_clusters" in self.__dict__ else None

    def clustering_protocol(self) -> dict[str, object]:
        """How ``clusters`` come about, for ``scores.json``."""
        return {**self.clustering.protocol(), "clusters": self.num_classes, "seed": self.seed}
