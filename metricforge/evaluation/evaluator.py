"""The kinds of evaluator that the loop knows: of one value a query, of ranks, and of clusters."""

from __future__ import annotations

from abc import abstractmethod

from metricforge.arrays import Array
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.interfaces import Evaluator


class QueryEvaluator(Evaluator):
    """Scores that are the mean of ``per_query`` over the queries that have a match in the gallery."""

    @abstractmethod
    def per_query(self, context: EvaluationContext) -> dict[str, Array]: ...

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        return {name: context.mean_over_queries(values) for name, values in context.per_query(self).items()}


class RankEvaluator(QueryEvaluator):
    """Scores that the ranks of the matches tell, found in one pass for all such evaluators.

    No neighbours are searched for it: counting the non-matches ranked above is quicker than sorting them.
    """

    @abstractmethod
    def ranks_needed(self, context: EvaluationContext) -> Depth:
        """How deep the ranks have to be known; raises ValueError for what the gallery of ``context`` cannot tell."""

    @abstractmethod
    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        """The values (b,) by name of a block of queries; what it gives for queries without a match is not read."""

    def neighbours_needed(self, context: EvaluationContext) -> int:
        self.ranks_needed(context)  # refuses a K beyond the gallery before anything is searched
        return 0

    def per_query(self, context: EvaluationContext) -> dict[str, Array]:
        return context.values_from_ranks(self)


class ClusterEvaluator(Evaluator):
    """Scores of ``context.clusters()``."""

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        return {} if context.clusters_found is None else {"clusters_found": context.clusters_found}

    def protocol(self) -> dict[str, object]:
        return {"clusters": "those of `clustering`"}
