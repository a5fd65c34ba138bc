"""The cumulative matching characteristic of re-identification."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.evaluators.cutoffs import checked_ks, largest_k
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class CMC(RankEvaluator):
    """The share of queries whose first match is at rank K or better, as ``cmc@K``, in 0..1.

    With every gallery image in the ranking (the multi-shot protocol, as on Market-1501) this is ``RecallAtK`` by
    definition, under the name that re-identification gives it, and that is what is computed. ``SingleShotCMC`` draws
    one gallery image a class. Images of the query's class and camera are left out by
    ``test_cfg=dict(exclude="same label and same camera")``.

    Args:
        ks: the values of K.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1; when evaluated, for a K beyond the gallery.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        self.ks = checked_ks(ks)

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(first=largest_k(self.ks, context, "CMC"))

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        return {f"cmc@{k}": ranks.first <= k for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks), "gallery": "multi-shot: every image"}
