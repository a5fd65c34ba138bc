from __future__ import annotations

from dataclasses import replace

import numpy as np

from metricforge.comparison import on_the_same_queries
from metricforge.evaluation import QueryScores

FIRST = QueryScores(
    np.array(["c", "a", "d", "b"]),
    np.array([0, 0, 1, 1]),
    np.array([True, True, True, False]),
    {"map@r": np.array([0.1, 0.2, 0.3, 0.0], dtype=np.float32)},
    {"": np.array([0, 1, 0, 1])},
    ("ape", "bee"),
)


def in_order(queries: QueryScores, order) -> QueryScores:
    return QueryScores(
        queries.ids[order],
        queries.labels[order],
        queries.has_match[order],
        {name: column[order] for name, column in queries.values.items()},
        {name: column[order] for name, column in queries.nearest.items()},
        queries.class_names,
    )


def test_the_same_queries_in_another_order_are_put_into_the_first_one_s():
    found = on_the_same_queries(in_order(FIRST, [2, 0, 3, 1]), FIRST)
    assert found.ids.tolist() == FIRST.ids.tolist()
    assert found.values["map@r"].tolist() == FIRST.values["map@r"].tolist()
    assert found.nearest[""].tolist() == FIRST.nearest[""].tolist()


def test_queries_that_are_fewer_others_of_other_classes_or_matches_are_not_the_same():
    assert on_the_same_queries(in_order(FIRST, [0, 1, 2]), FIRST) is None
    assert on_the_same_queries(replace(FIRST, ids=np.array(["c", "a", "d", "z"])), FIRST) is None
    assert on_the_same_queries(replace(FIRST, ids=np.arange(4)), FIRST) is None
    assert on_the_same_queries(replace(FIRST, labels=np.array([0, 1, 1, 1])), FIRST) is None
    assert on_the_same_queries(replace(FIRST, class_names=("ape", "cat")), FIRST) is None
    assert on_the_same_queries(replace(FIRST, has_match=np.ones(4, dtype=bool)), FIRST) is None


def test_queries_that_count_for_a_score_go_along_and_must_be_the_same():
    counted = replace(FIRST, counted={"map@r": np.array([True, False, False, True])})
    other = replace(FIRST, counted={"map@r": np.array([True, True, False, True])})
    order = [2, 0, 3, 1]
    moved = replace(in_order(counted, order), counted={"map@r": counted.counted["map@r"][order]})
    assert on_the_same_queries(moved, counted).counted["map@r"].tolist() == [True, False, False, True]
    assert on_the_same_queries(other, counted) is None
    assert on_the_same_queries(counted, FIRST) is not None  # FIRST has no such score of its own
