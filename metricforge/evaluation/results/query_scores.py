"""Per-query results, from which intervals, paired comparisons and per-class scores are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from metricforge.arrays import Array
from metricforge.evaluation.evaluate import Evaluation

Column = Array


@dataclass(frozen=True)
class QueryScores:
    """Columns of Q queries, in the order of the evaluated set.

    Args:
        ids: the id of each query (Q,), integers or text.
        labels: their classes (Q,) int64.
        has_match: whether there is an image of their class to find (Q,) bool; a score is the mean over these queries,
            unless ``counted`` says over which.
        values: from the name of a score to the value of each query (Q,), bool or float32.
        nearest: from a ranking to the label of each query's nearest image by it (Q,) int64. The model's own ranking is
            ``""``; that of ``binary/recall@1`` is ``"binary"``. Only rankings that were searched.
        class_names: indexed by label, where the classes have names.
        counted: from the name of a score to the queries that it is the mean over (Q,) bool, where these are not
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
        """Return the mean of ``score`` over the queries that count for it."""
        return float(self.values[score][self.counted_for(score)].mean(dtype=np.float64))

    def counted_for(self, score: str) -> Column:
        """Return which queries (Q,) ``score`` is the mean over."""
        return self.counted.get(score, self.has_match)

    def class_name(self, label: int) -> str:
        """Return the name of class ``label``, or its number if it has none."""
        return str(label) if self.class_names is None else self.class_names[label]


def collect_query_scores(
    evaluation: Evaluation, ids: Column | None = None, *, nearest: bool = True
) -> QueryScores | None:
    """Collect the values of each query behind the scores of ``evaluation``; None if no score has any.

    Args:
        evaluation: from ``run_evaluation``.
        ids: the ids of the queries (Q,); None: those in the evaluation's context.
        nearest: whether to search for nearest images that are not known yet; never by a learned similarity, which
            takes long.
    """
    context = evaluation.context
    values = {
        score: column if column.dtype == bool else column.astype(np.float32)
        for score, column in evaluation.per_query().items()
    }
    if not values:
        return None
    ids = context.queries.ids if ids is None else ids
    assert ids is not None
    return QueryScores(
        ids,
        context.queries.labels,
        context.task.has_match,
        values,
        dict(_nearest_labels(evaluation, search=nearest)),
        context.queries.class_names,
        {name: mask for each in evaluation.results for name, mask in each.evaluator.counted_queries(context).items()},
    )


def _nearest_labels(evaluation: Evaluation, name: str = "", *, search: bool) -> Iterator[tuple[str, Column]]:
    context = evaluation.context
    if context.nearest_labels is None and search and context.similarity.search is not None:
        context.prefetch(1)
    if (labels := context.nearest_labels) is not None:
        yield name, labels
    for result in evaluation.results:
        if result.inner is not None:
            path = f"{name}/{result.prefix}" if name else result.prefix
            yield from _nearest_labels(result.inner, path, search=search)
