"""The same scores by another similarity, beside those by the model's own."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.evaluate import check_evaluators
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator, Similarity
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class ScoresBySimilarity(NestedEvaluator):
    """Run ``evaluators`` on the same images ranked by ``similarity``; ``recall@1`` becomes ``<name>/recall@1``.

    Binary codes beside the float embeddings, or plain distances beside a learned score::

        dict(
            type="ScoresBySimilarity",
            name="binary",
            similarity=dict(type="HammingSimilarity"),
            evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])],
        )

    Neighbours and clusters are computed once for all of ``evaluators``.

    Args:
        name: the prefix of the score names.
        similarity: ranks the gallery; without weights of its own.
        evaluators: what to score, at least one.

    Raises:
        ValueError: for an empty ``name``, ``evaluators`` that are not a list of evaluators, or a
            similarity with weights, which nothing would have trained.
    """

    def __init__(self, name: str, similarity: Similarity, evaluators: Sequence[Evaluator]) -> None:
        check_evaluators(evaluators)
        if not isinstance(similarity, Similarity):
            raise ValueError(
                f'similarity must be one, such as dict(type="EuclideanSimilarity"), got {type(similarity).__name__}'
            )
        weights = sum(parameter.numel() for parameter in similarity.parameters())
        if weights:
            raise ValueError(
                f"similarity must be one without weights, got {type(similarity).__name__} with {weights}, which "
                "nothing has trained; make it the model's similarity, and name here what it is compared with"
            )
        super().__init__(name, evaluators)
        self.similarity = similarity

    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        return context.by(self.similarity)

    def counts(self, context: ReadableContext) -> dict[str, int]:
        return {"bytes_per_vector": self.ranking(full_context(context)).bytes_per_vector, **super().counts(context)}

    def protocol(self) -> dict[str, object]:
        return {"name": self.name, "similarity": type(self.similarity).__name__, **super().protocol()}
