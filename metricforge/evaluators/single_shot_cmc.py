"""The cumulative matching characteristic with one gallery image per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from metricforge.arrays import Array, Flags, Indices
from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.evaluator import QueryEvaluator
from metricforge.evaluation.search.exact_knn import exact_knn
from metricforge.evaluators.cutoffs import checked_ks
from metricforge.functional.embedding_checks import check_count
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.registry import EVALUATORS

QUERIES_AT_ONCE = 256


@EVALUATORS.register_module()
class SingleShotCMC(QueryEvaluator):
    """The share of queries whose match is at rank K or better in a gallery of one image per class, ``cmc_single@K``.

    The single-shot protocol of re-identification, as on CUHK03: each trial draws one gallery image of every class and,
    for each query, one of its matches; the score is the mean over trials. Queries without a match are left out. It
    sorts the whole gallery for every query.

    Args:
        ks: the values of K.
        trials: how many galleries are drawn.
        seed: of the draws, which follow from it alone.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1 and ``trials`` is one; when evaluated, for a K beyond
            the number of classes in the gallery, or a ranking of neighbours alone (``ReRanked``).
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10), trials: int = 100, seed: int = 0) -> None:
        check_count("trials", trials)
        self.ks = checked_ks(ks)
        self.trials = trials
        self.seed = seed

    def neighbours_needed(self, context: ReadableContext) -> int:
        classes = len(np.unique(context.gallery.labels))
        if max(self.ks) > classes:
            raise ValueError(
                f"ks of SingleShotCMC must be at most {classes}, the gallery's classes, got {list(self.ks)}"
            )
        if full_context(context).ranks_are_neighbours:
            raise ValueError("SingleShotCMC reads the whole ranking, and this one ends after a shortlist; leave it out")
        return 0

    def per_query(self, context: ReadableContext) -> dict[str, Array]:
        self.neighbours_needed(context)
        searched = full_context(context)
        generator = np.random.default_rng(self.seed)
        classes, nth = np.unique(context.gallery.labels, return_inverse=True)
        order = np.argsort(nth, kind="stable")
        starts, counts = np.searchsorted(nth[order], np.arange(len(classes))), np.bincount(nth)
        draws = generator.random((self.trials, len(classes)))
        drawn = order[starts + (draws * counts).astype(np.int64)]  # (trials, C), gallery indices
        of_match = generator.random((self.trials, len(context.queries)))
        hits = {k: np.zeros(len(context.queries)) for k in self.ks}
        for queries, rank in self._rank_in_gallery(searched):
            ranks = self._ranks_of_trials(searched, queries, rank, drawn, of_match[:, queries])  # (trials, b)
            for k in self.ks:
                hits[k][queries] = (ranks <= k).mean(axis=0)
        return {f"cmc_single@{k}": hits[k] for k in self.ks}

    def protocol(self) -> dict[str, object]:
        gallery = "single-shot: one image a class"
        return {"ks": list(self.ks), "gallery": gallery, "trials": self.trials, "seed": self.seed}

    def _rank_in_gallery(self, context: EvaluationContext) -> Iterator[tuple[Indices, Indices]]:
        """Yield consecutive queries (b,), and the rank of each gallery image for them (b, G), from 0 on."""
        embeddings, size = context.queries.embeddings, len(context.gallery)
        with context.progress("ranking for SingleShotCMC", len(embeddings)) as advance:
            for start in range(0, len(embeddings), QUERIES_AT_ONCE):
                queries = np.arange(start, min(start + QUERIES_AT_ONCE, len(embeddings)))
                found = exact_knn(
                    embeddings[queries],
                    context.gallery.embeddings,
                    context.similarity,
                    size,
                    device=context.device,
                    scores_at_once=context.scores_at_once,
                )
                rank = np.empty_like(found)
                np.put_along_axis(rank, found, np.arange(size)[None, :], axis=1)
                yield queries, rank
                advance(len(queries))

    def _ranks_of_trials(
        self, context: EvaluationContext, queries: Indices, rank: Indices, drawn: Indices, of_match: Array
    ) -> Indices:
        """Return the rank (trials, b), from 1 on, of the match that each trial draws for each query."""
        labels = context.gallery.labels
        ranks = np.full(of_match.shape, len(labels) + 1)
        for row, query in enumerate(queries.tolist()):
            own = np.flatnonzero(labels == context.queries.labels[query])  # (m,)
            others = own[~context.task.is_left_out(np.array([query]), own[None, :])[0]]
            if not len(others):
                continue
            match = others[(of_match[:, row] * len(others)).astype(np.int64)]  # (trials,)
            above: Flags = rank[row][drawn] < rank[row][match][:, None]  # (trials, C)
            above &= labels[drawn] != context.queries.labels[query]
            above &= drawn != context.self_index[query]  # itself, under another label
            ranks[:, row] = above.sum(axis=1) + 1
        return ranks
