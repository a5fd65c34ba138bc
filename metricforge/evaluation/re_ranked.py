"""Scores of a shortlist that the model's similarity puts into order, and how near they come to the exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import check_evaluators, evaluate
from metricforge.evaluation.nested_evaluator import NestedEvaluator
from metricforge.evaluation.rank_evaluator import RankEvaluator
from metricforge.evaluation.reranked_context import RerankedContext
from metricforge.interfaces import Evaluator, Similarity
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class ReRanked(NestedEvaluator):
    """What ``evaluators`` find where a fixed similarity lists candidates and the model's own puts them into order.

    So a learned metric head searches a large gallery: its time grows with the queries times ``shortlist``, not times
    the gallery. Scores are named ``NAME/recall@1`` and so on; behind the shortlist neighbours stay as ``similarity``
    ranks them. ``NAME/agreement@K``, in 0..1, is the mean share of a query's K exact neighbours that are among its K
    here; for it the model's similarity is searched exactly, once for all evaluators of a config. It is a mean over all
    queries, those without a match too.

    Args:
        similarity: finds the shortlist.
        evaluators: what is scored on the re-ordered neighbours; none where only ``agreement`` is asked for.
        shortlist: candidates a query, at least 1; the whole gallery where that is smaller.
        agreement: the values of K to compare with the exact search; empty leaves that search out.
        name: leads the names of the scores.

    Raises:
        ValueError: for arguments outside these ranges; when evaluated, for a K beyond the gallery.
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
            raise ValueError(f"shortlist must be a whole number >= 1, got {shortlist!r}")
        if any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in agreement):
            raise ValueError(f"agreement must hold whole numbers >= 1, such as (1, 10), or none, got {agreement!r}")
        super().__init__(name, evaluators)
        self.similarity = similarity
        self.shortlist = shortlist
        self.agreement = tuple(agreement)
        self._rankings: WeakKeyDictionary[EvaluationContext, RerankedContext] = WeakKeyDictionary()

    def neighbours_needed(self, context: EvaluationContext) -> int:
        super().neighbours_needed(context)
        beyond = [k for k in self.agreement if k > context.gallery_size]
        if beyond:
            raise ValueError(
                f"agreement of ReRanked must be at most {context.gallery_size}, the images that a query can find, "
                f"got {list(self.agreement)}; leave out {beyond}"
            )
        return max(self.agreement, default=0)

    def ranking(self, context: EvaluationContext) -> RerankedContext:
        if context not in self._rankings:
            self._rankings[context] = RerankedContext(context.by(self.similarity), context, self.shortlist)
        return self._rankings[context]

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        reranked = self.ranking(context)
        by_rank = [each for each in self.evaluators if isinstance(each, RankEvaluator)]
        needed = [each.neighbours_needed(reranked) for each in self.evaluators]
        reranked.prefetch(max([1, *self.agreement, *needed, reranked.neighbours_for_ranks(by_rank)]))
        scores = evaluate(reranked, self.evaluators) if self.evaluators else {}
        for k in self.agreement:
            scores[f"agreement@{k}"] = _overlap(reranked.neighbours(k), context.neighbours(k))
        return {f"{self.name}/{score}": value for score, value in scores.items()}

    def protocol(self) -> dict[str, object]:
        return {
            "name": self.name,
            "shortlist": self.shortlist,
            "shortlist_similarity": type(self.similarity).__name__,
            "agreement": list(self.agreement),
            **super().protocol(),
        }


def _overlap(
    found: np.ndarray[tuple[int, ...], np.dtype[np.int64]], exact: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> float:
    """The mean share of the ``exact`` neighbours (Q, k) of a query that are among its ``found`` (Q, k)."""
    both = np.sort(np.concatenate([found, exact], axis=1), axis=1)  # (Q, 2k): who is in both stands twice, side by side
    return float((both[:, 1:] == both[:, :-1]).mean(axis=0).sum() / exact.shape[1])
