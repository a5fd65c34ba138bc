"""Evaluators that read nothing but the ranks of the right images."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks


class RankEvaluator(QueryEvaluator):
    """Scores that the ranks of the right images tell, found in one pass for all such evaluators.

    No neighbours are searched for it: counting the wrong images that are nearer is quicker than sorting them.
    """

    @abstractmethod
    def ranks_needed(self, context: EvaluationContext) -> Depth:
        """How deep the ranks have to be known; raises ValueError for what the gallery of ``context`` cannot tell."""

    @abstractmethod
    def from_ranks(self, ranks: MatchRanks) -> dict[str, np.ndarray[Any, Any]]:
        """The values (b,) by name of a block of queries; what it gives for queries without a match is not read."""

    def neighbours_needed(self, context: EvaluationContext) -> int:
        self.ranks_needed(context)  # refuses a K beyond the gallery before anything is searched
        return 0

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        return context.values_from_ranks(self)
