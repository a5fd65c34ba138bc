"""Scores under a similarity of its own, beside those under the model's."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import check_evaluators, evaluate
from metricforge.evaluation.protocol import describe_evaluators, describe_similarity
from metricforge.interfaces import Evaluator, Similarity
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class UnderSimilarity(Evaluator):
    """What ``evaluators`` find on the same embeddings under another ``similarity``, as ``NAME/recall@1`` and so on.

    A learned metric head is reported beside the distance of its features this way: the model's similarity is searched
    for the evaluators of the config, and ``EuclideanSimilarity`` for those in here.

    Args:
        name: leads the names of the scores.
        similarity: takes the place of the model's.
        evaluators: what is scored under it.

    Raises:
        ValueError: for an empty ``name``, or ``evaluators`` that are none.
    """

    def __init__(self, name: str, similarity: Similarity, evaluators: Sequence[Evaluator]) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'name must say what the scores are led by, such as "euclidean", got {name!r}')
        if not isinstance(similarity, Similarity):
            raise ValueError(
                f'similarity must be one, such as dict(type="EuclideanSimilarity"), got {type(similarity).__name__}'
            )
        check_evaluators(evaluators)
        self.name = name
        self.similarity = similarity
        self.evaluators = tuple(evaluators)

    def neighbours_needed(self, context: EvaluationContext) -> int:
        other = context.under(self.similarity)
        for evaluator in self.evaluators:
            evaluator.neighbours_needed(other)  # raises for a K that is too large before anything is searched
        return 0

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        scores = evaluate(context.under(self.similarity), self.evaluators)
        return {f"{self.name}/{score}": value for score, value in scores.items()}

    def protocol(self) -> dict[str, object]:
        return {
            "name": self.name,
            "similarity": describe_similarity(self.similarity),
            "evaluators": describe_evaluators(self.evaluators),
        }
