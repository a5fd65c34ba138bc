"""All evaluators on one context."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.interfaces import Evaluator


def check_evaluators(evaluators: object) -> None:
    """Raises ValueError unless ``evaluators`` are a sequence of at least one evaluator."""
    if not isinstance(evaluators, Sequence) or not all(isinstance(one, Evaluator) for one in evaluators):
        raise ValueError(f'evaluators must be a list of them, such as [dict(type="RecallAtK")], got {evaluators!r}')
    if not evaluators:
        raise ValueError("evaluators must hold at least one evaluator, such as RecallAtK(), got none")


def evaluate(context: EvaluationContext, evaluators: Sequence[Evaluator]) -> dict[str, float]:
    """The scores of all ``evaluators``, by name, in their order; neighbours and ranks are found once for all of them.

    Raises:
        ValueError: without evaluators, for one that needs more neighbours than there are, or two of one score name.
    """
    check_evaluators(evaluators)
    by_rank = [evaluator for evaluator in evaluators if isinstance(evaluator, RankEvaluator)]
    needed = max(evaluator.neighbours_needed(context) for evaluator in evaluators)
    needed = max(needed, context.neighbours_for_ranks(by_rank))
    if needed:
        context.prefetch(needed)
    context.read_ranks(by_rank)
    scores: dict[str, float] = {}
    origin: dict[str, str] = {}
    for evaluator in evaluators:
        kind = type(evaluator).__name__
        its_scores = evaluator.evaluate(context)
        context.note_scores(evaluator, its_scores)
        for name, value in its_scores.items():
            if name in scores:
                raise ValueError(f'both {origin[name]} and {kind} give a score named "{name}"; leave one of them out')
            scores[name] = float(value)
            origin[name] = kind
    return scores
