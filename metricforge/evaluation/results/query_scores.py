"""What each query scored and found: what intervals, paired comparisons and scores of single classes are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from metricforge.arrays import Array
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import Evaluator

Column = Array


@dataclass(frozen=True)
class QueryScores:
    """Columns of Q queries, in the order of the evaluated set.

    Args:
        ids: what each is called (Q,), whole numbers or text.
        labels: their classes (Q,) int64.
        has_match: whether there is an image of their class to find (Q,) bool; a score is the mean over these queries,
            unless ``counted`` says over which.
        values: from the name of a score to what each query contributes to it (Q,), bool or float32.
        nearest: from a ranking to the label of each query's nearest image by it (Q,) int64. The model's own ranking is
            ``""``; that of ``binary/recall@1`` is ``"binary"``. Only those that were searched.
        class_names: indexed by label, where the classes have names.
        counted: from the name of a score to the queries that it is the mean over (Q,) bool, where these are others than
            those with a match.

    Raises:
        ValueError: for columns of different length.
    """

    ids: Column
    labels: Column
    has_match: Column
    values: Mapping[str, Column]
    nearest: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))
    class_names: tuple[str, ...] | None = None
    counted: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        columns = {"ids": self.ids, "labels": self.labels, "has_match": self.has_match, **self.values, **self.nearest}
        columns |= {f"the queries counted for {score}": column for score, column in self.counted.items()}
        shapes = {name: column.shape for name, column in columns.items()}
        if any(shape != (len(self.ids),) for shape in shapes.values()):
            raise ValueError(f"every column must have a value for each query, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.ids)

    def mean(self, score: str) -> float:
        """The mean of ``score`` over the queries that count for it."""
        return float(self.values[score][self.counted_for(score)].mean(dtype=np.float64))

    def counted_for(self, score: str) -> Column:
        """Which queries (Q,) ``score`` is the mean over."""
        return self.counted.get(score, self.has_match)

    def class_name(self, label: int) -> str:
        """What class ``label`` is called: its number where it has no name."""
        return str(label) if self.class_names is None else self.class_names[label]


def collect_query_scores(
    context: EvaluationContext, evaluators: Sequence[Evaluator], ids: Column | None = None, *, nearest: bool = True
) -> QueryScores | None:
    """The values of each query behind the scores of ``evaluate(context, evaluators)``; None if no score has any.

    Args:
        context: where ``evaluators`` were evaluated.
        evaluators: the same.
        ids: what the queries are called (Q,); None: the ids they have in ``context``.
        nearest: whether nearest images are searched where no score needed them, but never by a learned similarity,
            which takes long; otherwise nothing is searched.
    """
    values = {
        score: column if column.dtype == bool else column.astype(np.float32)
        for evaluator in evaluators
        for score, column in context.per_query(evaluator).items()
    }
    if not values:
        return None
    ids = context.queries.ids if ids is None else ids
    assert ids is not None
    return QueryScores(
        ids,
        context.queries.labels,
        context.matches > 0,
        values,
        dict(_nearest_labels(context, evaluators, search=nearest)),
        context.queries.class_names,
        {name: mask for evaluator in evaluators for name, mask in evaluator.counted_queries(context).items()},
    )


def _nearest_labels(
    context: EvaluationContext, evaluators: Sequence[Evaluator], name: str = "", *, search: bool
) -> Iterator[tuple[str, Column]]:
    if context.known_neighbours or (search and context.similarity.search is not None):
        yield name, context.gallery.labels[context.neighbours(1)[:, 0]]
    for evaluator in evaluators:
        if isinstance(evaluator, NestedEvaluator):
            inner = f"{name}/{evaluator.name}" if name else evaluator.name
            yield from _nearest_labels(evaluator.ranking(context), evaluator.evaluators, inner, search=search)
