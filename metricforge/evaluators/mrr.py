"""Mean reciprocal rank."""

from __future__ import annotations

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MRR(RankEvaluator):
    """The mean reciprocal rank of the first match, as ``mrr``, in 0..1.

    Ranks are those in the whole gallery, however deep; queries without a match are left out.
    """

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(first=context.gallery_size)

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        return {"mrr": 1 / ranks.first}

    def protocol(self) -> dict[str, object]:
        return {"ranks": "the whole gallery"}
