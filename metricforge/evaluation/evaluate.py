"""The one loop over evaluators: ask each once what it needs, search once for all of them, collect their scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from metricforge.arrays import Array
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.evaluator import QueryEvaluator, RankEvaluator, neighbours_for_ranks, values_from_ranks
from metricforge.evaluation.ranking.match_ranks import Depth
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator


@dataclass(frozen=True)
class EvaluationPlan:
    """What ``evaluators`` need, known before anything is searched.

    Args:
        evaluators: what is scored.
        neighbours: how many neighbours of each query they read.
        depth: how deep the ranks of the matches have to be known.
        inner: the plan of each evaluator that runs others; None for one that does not.
        outer_neighbours: neighbours that they read of the ranking around theirs.
    """

    evaluators: tuple[Evaluator, ...]
    neighbours: int
    depth: Depth
    inner: tuple[EvaluationPlan | None, ...]
    outer_neighbours: int = 0


@dataclass(frozen=True)
class EvaluatorResult:
    """What one evaluator found.

    Args:
        evaluator: which.
        context: what it was evaluated on.
        scores: by name.
        own_values: the values (Q,) behind its scores, by name; None where only ``evaluator.per_query`` tells them.
        inner: what the evaluators inside it found; their scores are led by ``prefix`` here.
        prefix: such as "binary".
    """

    evaluator: Evaluator
    context: EvaluationContext
    scores: Mapping[str, float]
    own_values: Mapping[str, Array] | None = None
    inner: Evaluation | None = None
    prefix: str = ""

    def per_query(self) -> dict[str, Array]:
        """The values (Q,) of each query behind those scores that are means over queries."""
        own = self.evaluator.per_query(self.context) if self.own_values is None else self.own_values
        inner = {} if self.inner is None else self.inner.per_query()
        return {f"{self.prefix}/{name}": values for name, values in inner.items()} | dict(own)


@dataclass(frozen=True)
class Evaluation:
    """What evaluators found on one context, in their order."""

    context: EvaluationContext
    results: tuple[EvaluatorResult, ...]

    @property
    def scores(self) -> dict[str, float]:
        """All scores by name."""
        return {name: value for result in self.results for name, value in result.scores.items()}

    def per_query(self) -> dict[str, Array]:
        """The values (Q,) of each query behind those scores that are means over queries."""
        return {name: values for result in self.results for name, values in result.per_query().items()}


class CompositeEvaluator(Evaluator):
    """An evaluator that runs others on another ranking of the same task."""

    @abstractmethod
    def plan(self, context: EvaluationContext) -> EvaluationPlan:
        """What the evaluators inside need; raises ValueError for what ``context`` cannot tell."""

    @abstractmethod
    def run(self, context: EvaluationContext, plan: EvaluationPlan, *, nearest: bool = False) -> EvaluatorResult:
        """Search as ``plan``, made for ``context``, says, and give what was found; see ``run_evaluation``."""

    @final
    def neighbours_needed(self, context: ReadableContext) -> int:
        return self.plan(full_context(context)).outer_neighbours

    @final
    def evaluate(self, context: ReadableContext) -> dict[str, float]:
        searched = full_context(context)
        return dict(self.run(searched, self.plan(searched)).scores)


def check_evaluators(evaluators: object) -> None:
    """Raise ValueError unless ``evaluators`` are a sequence of at least one evaluator."""
    if not isinstance(evaluators, Sequence) or not all(isinstance(one, Evaluator) for one in evaluators):
        raise ValueError(f'evaluators must be a list of them, such as [dict(type="RecallAtK")], got {evaluators!r}')
    if not evaluators:
        raise ValueError("evaluators must hold at least one evaluator, such as RecallAtK(), got none")


def evaluate(context: EvaluationContext, evaluators: Sequence[Evaluator]) -> dict[str, float]:
    """The scores of all ``evaluators``, by name, in their order; neighbours and ranks are found once for all of them.

    Embeddings that are nearly all the same, or nearly on one line, are warned of (``CollapsedEmbeddingsWarning``).

    Raises:
        ValueError: without evaluators, for one that needs more neighbours than there are, or two of one score name.
    """
    check_evaluators(evaluators)
    context.warn_of_collapse()
    return run_evaluation(context, evaluators).scores


def plan_evaluation(context: EvaluationContext, evaluators: Sequence[Evaluator]) -> EvaluationPlan:
    """Ask each of ``evaluators`` once what it needs of ``context``.

    Raises:
        ValueError: for one that needs what ``context`` does not have, such as a K beyond the gallery.
    """
    neighbours, depth = 0, Depth()
    inner: list[EvaluationPlan | None] = []
    for evaluator in evaluators:
        inner.append(evaluator.plan(context) if isinstance(evaluator, CompositeEvaluator) else None)
        if isinstance(evaluator, RankEvaluator):
            depth = depth.joined(evaluator.ranks_needed(context))
        elif (its_plan := inner[-1]) is not None:
            neighbours = max(neighbours, its_plan.outer_neighbours)
        else:
            needed = evaluator.neighbours_needed(context)
            if needed > context.gallery_size:
                raise ValueError(
                    f"{type(evaluator).__name__} reads {needed} neighbours of each query, and a query can find "
                    f"{context.gallery_size} images; take fewer"
                )
            neighbours = max(neighbours, needed)
    return EvaluationPlan(tuple(evaluators), neighbours, depth, tuple(inner))


def run_evaluation(
    context: EvaluationContext, evaluators: Sequence[Evaluator] | EvaluationPlan, *, nearest: bool = False
) -> Evaluation:
    """Search what ``evaluators`` need, and ask each for its scores.

    Args:
        context: where to search.
        evaluators: what is scored, or the plan of it, made for ``context`` or another ranking of its task.
        nearest: whether a search for ranks also notes the class of each query's nearest image, for per-query results.

    Raises:
        EmbeddingsError: for two evaluators of one score name.
        ValueError: for a score that these images do not define.
    """
    plan = evaluators if isinstance(evaluators, EvaluationPlan) else plan_evaluation(context, evaluators)
    by_rank = [evaluator for evaluator in plan.evaluators if isinstance(evaluator, RankEvaluator)]
    needed = max(plan.neighbours, neighbours_for_ranks(context, plan.depth) if by_rank else 0)
    if needed:
        context.prefetch(needed)
    rank_values = iter(values_from_ranks(context, by_rank, plan.depth, nearest=nearest) if by_rank else ())
    results: list[EvaluatorResult] = []
    origin: dict[str, str] = {}
    for evaluator, inner in zip(plan.evaluators, plan.inner, strict=True):
        if isinstance(evaluator, QueryEvaluator):
            values = next(rank_values) if isinstance(evaluator, RankEvaluator) else evaluator.per_query(context)
            result = EvaluatorResult(evaluator, context, evaluator.mean_scores(context, values), values)
        elif isinstance(evaluator, CompositeEvaluator):
            assert inner is not None
            result = evaluator.run(context, inner, nearest=nearest)
        else:
            its_scores = {name: float(value) for name, value in evaluator.evaluate(context).items()}
            result = EvaluatorResult(evaluator, context, its_scores)
        kind = type(evaluator).__name__
        for name in result.scores:
            if name in origin:
                raise EmbeddingsError(
                    f'both {origin[name]} and {kind} give a score named "{name}"; leave one of them out'
                )
            origin[name] = kind
        results.append(result)
    return Evaluation(context, tuple(results))
