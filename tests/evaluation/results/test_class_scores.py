from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from metricforge.evaluation import ConfusedClasses, QueryScores, class_scores, confused_classes

LABELS = [5, 5, 5, 2, 2, 9, 7]
HAS_MATCH = [True, True, True, True, True, False, True]


def queries(**columns) -> QueryScores:
    given = dict(
        values={"recall@1": np.array([1, 0, 0, 0, 1, 0, 0], dtype=bool), "map@r": np.linspace(0, 0.6, 7)},
        nearest={"": np.array([5, 2, 2, 5, 2, 5, 2])},
    )
    return QueryScores(np.arange(7), np.array(LABELS), np.array(HAS_MATCH), **given | columns)


def test_each_class_has_the_mean_of_its_queries_with_a_match():
    found = class_scores(queries())
    assert found.labels.tolist() == [2, 5, 7, 9]
    assert found.queries.tolist() == [2, 3, 1, 0]
    assert found.without_match.tolist() == [0, 0, 0, 1]
    assert found.values["recall@1"].tolist() == [0.5, pytest.approx(1 / 3), 0.0, pytest.approx(np.nan, nan_ok=True)]
    assert found.values["map@r"][:3].tolist() == pytest.approx([0.35, 0.1, 0.6])


def test_a_score_of_other_queries_than_those_with_a_match_is_the_mean_of_these():
    counted = {"map@r": np.array([False, True, False, False, False, True, False])}
    found = class_scores(queries(counted=counted))
    assert found.counted["map@r"].tolist() == [0, 1, 0, 1]  # classes 2, 5, 7, 9
    assert found.counted["recall@1"].tolist() == found.queries.tolist()
    assert found.values["map@r"][[1, 3]].tolist() == pytest.approx([0.1, 0.5])
    assert np.isnan(found.values["map@r"][[0, 2]]).all()
    assert found.labels[found.worst("map@r")].tolist() == [5, 9]


def test_the_worst_come_first_larger_classes_before_smaller_and_unscored_ones_never():
    found = class_scores(queries())
    assert found.labels[found.worst("recall@1")].tolist() == [7, 5, 2]
    tied = class_scores(queries(values={"recall@1": np.zeros(7, dtype=bool)}))
    assert tied.labels[tied.worst("recall@1")].tolist() == [5, 2, 7]


def test_confusions_are_counted_in_both_directions_and_sorted():
    # 5 -> 2 twice, 2 -> 5 once, 7 -> 2 once; 9 has no match
    assert confused_classes(queries()) == [ConfusedClasses(5, 2, 2, 1), ConfusedClasses(7, 2, 1, 0)]


def test_confusions_are_those_of_a_loop_over_random_queries():
    generator = np.random.default_rng(0)
    labels, nearest, has_match = generator.integers(0, 6, 200), generator.integers(0, 6, 200), np.arange(200) % 7 > 0
    found = confused_classes(QueryScores(np.arange(200), labels, has_match, {}, {"binary": nearest}), "binary")
    counted = Counter(
        (int(a), int(b)) for a, b, seen in zip(labels, nearest, has_match, strict=True) if seen and a != b
    )
    assert {(p.first, p.second): (p.first_as_second, p.second_as_first) for p in found} == {
        (p.first, p.second): (counted[p.first, p.second], counted[p.second, p.first]) for p in found
    }
    assert sum(p.first_as_second + p.second_as_first for p in found) == counted.total()
    assert all(p.first_as_second >= p.second_as_first for p in found)
    sums = [p.first_as_second + p.second_as_first for p in found]
    assert sums == sorted(sums, reverse=True)


def test_without_a_wrong_neighbour_nothing_is_confused():
    assert confused_classes(queries(nearest={"": np.array(LABELS)})) == []


def test_a_ranking_that_was_not_searched_is_refused_by_name():
    with pytest.raises(ValueError, match="""by the ranking "binary" are not known, only those by ''"""):
        confused_classes(queries(), "binary")
