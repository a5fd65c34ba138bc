"""The kinds of evaluator that the loop knows: of one value a query, of ranks, and of clusters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import final

import numpy as np

from metricforge.arrays import Array, Indices
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.ranking.match_ranks import (
    Depth,
    MatchRanks,
    is_read_from_neighbours,
    match_ranks,
    ranks_among_neighbours,
)
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator


class QueryEvaluator(Evaluator):
    """Scores that are means of ``per_query``: over queries with a match, or those that ``counted_queries`` names."""

    @abstractmethod
    def per_query(self, context: ReadableContext) -> dict[str, Array]: ...

    @final
    def evaluate(self, context: ReadableContext) -> dict[str, float]:
        return self.mean_scores(context, self.per_query(context))

    def mean_scores(self, context: ReadableContext, values: dict[str, Array]) -> dict[str, float]:
        """The scores of ``values`` (Q,), which ``per_query`` gave for ``context``."""
        counted = self.counted_queries(context)
        return {
            name: float(column[counted[name]].mean(dtype=np.float64))
            if name in counted
            else mean_over_queries(context.matches, column)
            for name, column in values.items()
        }


class RankEvaluator(QueryEvaluator):
    """Scores that the ranks of the matches tell, found in one pass for all such evaluators.

    No neighbours are searched for it: counting the non-matches ranked above is quicker than sorting them.
    """

    @abstractmethod
    def ranks_needed(self, context: ReadableContext) -> Depth:
        """How deep the ranks have to be known; raises ValueError for what the gallery of ``context`` cannot tell."""

    @abstractmethod
    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        """The values (b,) by name of a block of queries; what it gives for queries without a match is not read."""

    def neighbours_needed(self, context: ReadableContext) -> int:
        self.ranks_needed(context)  # refuses a K beyond the gallery before anything is searched
        return 0

    def per_query(self, context: ReadableContext) -> dict[str, Array]:
        return values_from_ranks(full_context(context), [self], self.ranks_needed(context))[0]


class ClusterEvaluator(Evaluator):
    """Scores of ``context.clusters()``."""

    def counts(self, context: ReadableContext) -> dict[str, int]:
        searched = full_context(context)
        found, wanted = searched.clusters_found, searched.task.num_classes
        if found is None:
            return {}
        return {"clusters_found": found} if found == wanted else {"clusters_found": found, "clusters_wanted": wanted}

    def protocol(self) -> dict[str, object]:
        return {"clusters": "those of `clustering`"}


def mean_over_queries(matches: Indices, values: Array) -> float:
    """Average one value per query (Q,) over the queries of which ``matches`` (Q,) is above 0, in float64.

    Raises:
        EmbeddingsError: if no query has one.
    """
    has_match = matches > 0  # (Q,)
    if not has_match.any():
        raise EmbeddingsError(
            f"none of the {len(matches)} queries has another image of its class in the gallery, so no "
            "retrieval score is defined; check the labels, or evaluate on classes of two images and more"
        )
    return float(values[has_match].mean(dtype=np.float64))


def neighbours_for_ranks(context: EvaluationContext, depth: Depth) -> int:
    """How many neighbours ``values_from_ranks`` reads: 0 where ranks are counted without any."""
    by_search = context.ranks_are_neighbours or is_read_from_neighbours(context.task, context.similarity, depth)
    return min(depth.largest(context.task), context.gallery_size) if by_search else 0


def values_from_ranks(
    context: EvaluationContext, evaluators: Sequence[RankEvaluator], depth: Depth, *, nearest: bool = False
) -> list[dict[str, Array]]:
    """What each of ``evaluators`` reads from the ranks of the matches (Q,), by name; these are found in one pass.

    ``depth`` is how deep the ranks have to be known for all of them. With ``nearest`` the context learns the class of
    each query's nearest image in the same pass.
    """
    nearest = nearest and context.task.exclude is None  # whose pass sees what is left out
    if neighbours := neighbours_for_ranks(context, depth):
        return _read(ranks_among_neighbours(context.task, context.neighbours(neighbours)), evaluators)
    with context.progress(f"ranking by {type(context.similarity).__name__}", len(context.queries)) as advance:
        ranks = match_ranks(
            context.task,
            context.similarity,
            depth,
            nearest=nearest,
            device=context.device,
            scores_at_once=context.scores_at_once,
            on_queries=advance,
        )
        labels: list[Indices] = []
        values = _read(_noting_nearest(ranks, labels), evaluators)
    if nearest:
        context.keep_nearest_labels(np.concatenate(labels))
    return values


def _noting_nearest(ranks: Iterable[MatchRanks], labels: list[Indices]) -> Iterator[MatchRanks]:
    for block in ranks:
        if block.nearest_label is not None:
            labels.append(block.nearest_label)
        yield block


def _read(ranks: Iterable[MatchRanks], evaluators: Sequence[RankEvaluator]) -> list[dict[str, Array]]:
    values: list[dict[str, list[Array]]] = [{} for _ in evaluators]
    for block in ranks:
        for evaluator, its_values in zip(evaluators, values, strict=True):
            for name, column in evaluator.from_ranks(block).items():
                its_values.setdefault(name, []).append(column)
    return [{name: np.concatenate(blocks) for name, blocks in its_values.items()} for its_values in values]
