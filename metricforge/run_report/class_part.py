"""How well each class is found."""

from __future__ import annotations

import numpy as np

from metricforge.evaluation import QueryScores, class_scores
from metricforge.report.html import Bars, Chart

MOST_BARS = 400


def class_chart(queries: QueryScores, score: str) -> Chart:
    """A bar for each class, by rising ``score``; of very many classes the worst."""
    scores = class_scores(queries)
    order = scores.worst(score)
    shown = order[:MOST_BARS]
    names = [queries.class_name(int(label)) for label in scores.labels[shown]]
    values = [float(value) for value in scores.values[score][shown]]
    perfect = int(np.sum(scores.values[score][order] == 1))
    note = f"{perfect:,} of {len(order):,} classes are perfect."
    if len(order) > len(shown):
        note += f" Only the worst {MOST_BARS} are drawn."
    return Chart(
        "classes",
        f"{score} of each class",
        "classes, the worst first",
        score,
        bars=[Bars(score, names, values)],
        percent=True,
        note=note,
    )


def score_of_classes(queries: QueryScores) -> str:
    """The score that classes are told apart by: the first of the model's own ranking, or the first there is."""
    own = [name for name in queries.values if "/" not in name]
    return (own or list(queries.values))[0]
