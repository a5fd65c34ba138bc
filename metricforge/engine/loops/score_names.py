"""Which scores evaluators give, found on a few random embeddings: long before the first validation needs one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricforge.engine.loops.cutoffs_within import cutoffs_within
from metricforge.errors import ConfigError
from metricforge.evaluation import EvaluationContext, evaluate
from metricforge.interfaces import Evaluator
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

SIZES = (64, 2048)  # the few answer at once what is asked most: recall@1


def refuse_absent_score(
    score: str, evaluators: Sequence[Evaluator], images: int, dim: int, path: str = "checkpoint.save_best"
) -> None:
    """Raise an error if no evaluator gives ``score`` in a validation of ``images``, as far as can be seen.

    ``path`` is what names the score. An evaluator that cannot score random embeddings of a few classes is left to the
    validation.

    Raises:
        ConfigError: names the scores that there are.
    """
    names: list[str] = []
    for size in SIZES:
        context, names = _random_context(min(size, images), dim), []
        for evaluator in cutoffs_within(evaluators, images - 1):
            try:
                names += evaluate(context, [evaluator])
            except ValueError:
                if size == SIZES[-1]:
                    return
            if score in names:
                return
        if size >= images:
            break
    raise ConfigError([f"{path}: no evaluator gives the score {score!r}; take one of {sorted(names)}"])


def _random_context(size: int, dim: int) -> EvaluationContext:
    embeddings = np.random.default_rng(0).standard_normal((size, dim), dtype=np.float32)
    return EvaluationContext(EmbeddingSet(embeddings, np.arange(size) % 4, np.arange(size)), EuclideanSimilarity())
