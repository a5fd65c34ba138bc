"""Scores of a shortlist re-ranked by the model's similarity, and how closely it agrees with the exact ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metricforge.arrays import Array, Floats, Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import EvaluationPlan, EvaluatorResult, check_evaluators
from metricforge.evaluators.mean_average_precision import MeanAveragePrecision
from metricforge.evaluators.mrr import MRR
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.evaluators.reranked_context import reranked_context
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator, Similarity
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class ReRanked(NestedEvaluator):
    """Scores where a fixed similarity finds a shortlist and the model's own similarity re-ranks it.

    This is how a learned metric head searches a large gallery: its time grows with the queries times ``shortlist``,
    not times the gallery. Scores are named ``NAME/recall@1`` and so on; beyond the shortlist, neighbours stay in the
    order of ``similarity``. ``NAME/agreement@K``, in 0..1, is the mean share of a query's K exact neighbours that are
    among its K here; for it the model's similarity is searched exactly, once for all evaluators of a config. It is a
    mean over all queries, those without a match too.

    Args:
        similarity: finds the shortlist.
        evaluators: what to score on the re-ranked neighbours; empty to measure only ``agreement``.
        shortlist: candidates per query, at least 1; the whole gallery where that is smaller.
        agreement: the values of K at which to compare with the exact search; empty: do not search exactly.
        name: the prefix of the score names.

    Raises:
        ValueError: for arguments outside these ranges; when evaluated, for a K beyond the gallery, or for ``map`` and
            ``mrr`` of a shortlist that is not all of it: they would hold the ranking of everything.
    """

    def __init__(
        self,
        similarity: Similarity,
        evaluators: Sequence[Evaluator],
        shortlist: int = 100,
        agreement: Sequence[int] = (1, 10),
        name: str = "reranked",
    ) -> None:
        if not isinstance(similarity, Similarity):
            raise ValueError(
                f'similarity must be one, such as dict(type="EuclideanSimilarity"), got {type(similarity).__name__}'
            )
        if evaluators or not agreement:
            check_evaluators(evaluators)
        if isinstance(shortlist, bool) or not isinstance(shortlist, int) or shortlist < 1:
            raise ValueError(f"shortlist must be an integer >= 1, got {shortlist!r}")
        if any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in agreement):
            raise ValueError(f"agreement must hold integers >= 1, such as (1, 10), or none, got {agreement!r}")
        super().__init__(name, evaluators)
        self.similarity = similarity
        self.shortlist = shortlist
        self.agreement = tuple(agreement)

    def plan(self, context: EvaluationContext) -> EvaluationPlan:
        inner = super().plan(context)
        unlimited = [type(each).__name__ for each in self.evaluators if isinstance(each, (MeanAveragePrecision, MRR))]
        if unlimited and self.shortlist < context.gallery_size:
            raise ValueError(
                f"{' and '.join(unlimited)} read the ranking of all {context.gallery_size} images, and ReRanked orders "
                f"a shortlist of {self.shortlist}; leave {'them' if len(unlimited) > 1 else 'it'} out of its "
                "evaluators, MAPAtR and RecallAtK do with fewer ranks"
            )
        beyond = [k for k in self.agreement if k > context.gallery_size]
        if beyond:
            raise ValueError(
                f"agreement of ReRanked must be at most {context.gallery_size}, the images that a query can find, "
                f"got {list(self.agreement)}; leave out {beyond}"
            )
        deepest = max(self.agreement, default=0)
        return replace(inner, neighbours=max(1, inner.neighbours, deepest), outer_neighbours=deepest)

    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        key = self.similarity, "re-ranked", self.shortlist
        return context.related(key, lambda: reranked_context(context.by(self.similarity), context, self.shortlist))

    def run(self, context: EvaluationContext, plan: EvaluationPlan, *, nearest: bool = False) -> EvaluatorResult:
        result = super().run(context, plan, nearest=nearest)
        agreement = self._agreement(context)
        means = {name: float(shares.mean()) for name, shares in agreement.items()}
        return replace(result, scores={**result.scores, **means}, own_values=agreement)

    def counted_queries(self, context: ReadableContext) -> dict[str, Array]:
        names = (f"{self.name}/agreement@{k}" for k in self.agreement)
        return super().counted_queries(context) | dict.fromkeys(names, np.ones(len(context.queries), dtype=bool))

    def _agreement(self, context: EvaluationContext) -> dict[str, Array]:
        reranked = self.ranking(context)
        return {
            f"{self.name}/agreement@{k}": _overlap(reranked.neighbours(k), context.neighbours(k))
            for k in self.agreement
        }

    def protocol(self) -> dict[str, object]:
        return {
            "name": self.name,
            "shortlist": self.shortlist,
            "shortlist_similarity": type(self.similarity).__name__,
            "agreement": list(self.agreement),
            **super().protocol(),
        }


def _overlap(found: Indices, exact: Indices) -> Floats:
    """Return the share (Q,) of the ``exact`` neighbours (Q, k) of each query that are among its ``found`` (Q, k)."""
    both = np.sort(np.concatenate([found, exact], axis=1), axis=1)  # (Q, 2k): what is in both occurs twice in a row
    return np.count_nonzero(both[:, 1:] == both[:, :-1], axis=1) / exact.shape[1]
