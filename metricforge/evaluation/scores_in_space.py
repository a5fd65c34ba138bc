"""The same scores in a smaller space, beside those of the embeddings as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import check_evaluators, evaluate
from metricforge.evaluation.space import Space
from metricforge.interfaces import Evaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class ScoresInSpace(Evaluator):
    """Runs ``evaluators`` on the same images in a smaller space; ``recall@1`` becomes ``<space>/recall@1``.

    What a shorter vector costs, beside the bytes that it takes, which the protocol says::

        dict(type="ScoresInSpace", space="pca:64+int8", evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])])

    The similarity is the model's own, applied to what is left of the embeddings; one that has weights was trained on
    all dimensions and is refused. Ranks and clusters are found once for all of ``evaluators``.

    Args:
        space: "first:N" (the first N dimensions), "pca:N" (fitted on the gallery, without its labels), "int8" (a byte a
            dimension, steps from the gallery), or steps joined by "+"; see ``Space``.
        evaluators: what is scored, at least one.

    Raises:
        ValueError: for another ``space`` or ``evaluators`` that are none; when evaluated, for more dimensions than
            there are or a similarity with weights.
    """

    def __init__(self, space: str, evaluators: Sequence[Evaluator]) -> None:
        check_evaluators(evaluators)
        self.space = Space(space)
        self.evaluators = tuple(evaluators)

    def neighbours_needed(self, context: EvaluationContext) -> int:
        for evaluator in self.evaluators:
            evaluator.neighbours_needed(context)  # refuses a K beyond the gallery before anything is searched
        return 0

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        scores = evaluate(context.in_space(self.space), self.evaluators)
        return {f"{self.space.name}/{key}": value for key, value in scores.items()}

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        in_space = context.in_space(self.space)
        return {
            f"{self.space.name}/{key}": values
            for evaluator in self.evaluators
            for key, values in evaluator.per_query(in_space).items()
        }

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        in_space = context.in_space(self.space)
        counts = {
            f"{type(evaluator).__name__}/{key}": count
            for evaluator in self.evaluators
            for key, count in evaluator.counts(in_space).items()
        }
        return {"bytes_per_vector": in_space.bytes_per_vector, **counts}

    def protocol(self) -> dict[str, object]:
        inner = [{"type": type(evaluator).__name__, **evaluator.protocol()} for evaluator in self.evaluators]
        return {"space": self.space.name, "fitted_on": "the gallery", "evaluators": inner}
