"""Which epoch's weights a run keeps."""

from __future__ import annotations

import pytest

from metricforge.engine.records.weight_choice import WeightChoice


def chosen(score, validations):
    """After how many of ``validations`` the weights were found that are kept."""
    choice = WeightChoice(score, "validation classes")
    for number, scores in enumerate(validations, start=1):
        choice.consider(scores, number)
    return choice.iteration


@pytest.mark.parametrize(
    ("validations", "expected"),
    [
        ([(0.9, 0.5), (1.0, 0.4), (0.8, 0.9)], 2),  # MAP@R says nothing where Recall@1 differs
        ([(1.0, 0.5), (1.0, 0.7), (1.0, 0.6)], 2),
        ([(1.0, 0.5), (1.0, 0.5)], 1),
        ([(0.0, 0.0), (0.0, 0.0)], 1),
    ],
)
@pytest.mark.parametrize("prefix", ["", "euclidean/"])
def test_of_equals_the_higher_map_at_r_is_kept_and_then_the_earlier_one(prefix, validations, expected):
    scores = [{f"{prefix}recall@1": recall, f"{prefix}map@r": second} for recall, second in validations]
    assert chosen(f"{prefix}recall@1", scores) == expected


def test_a_map_at_r_that_is_measured_otherwise_decides_where_there_is_no_other():
    scores = [{"reranked/recall@1": 1.0, "euclidean/map@r": second} for second in (0.5, 0.7)]
    assert chosen("reranked/recall@1", scores) == 2


def test_without_map_at_r_the_earlier_one_is_kept():
    assert chosen("recall@1", [{"recall@1": 1.0}] * 2) == 1


def test_a_run_of_a_version_that_did_not_keep_it_goes_on_with_the_earlier_one():
    choice = WeightChoice("recall@1", "validation classes")
    choice.load_state_dict({"among": 1, "best": 1.0, "iteration": 5, "test_looks": 0})
    assert not choice.consider({"recall@1": 1.0, "map@r": 1.0}, 6)


def test_a_resumed_choice_remembers_the_map_at_r():
    before, after = (WeightChoice("recall@1", "validation classes") for _ in range(2))
    before.consider({"recall@1": 1.0, "map@r": 0.6}, 1)
    after.load_state_dict(before.state_dict())
    assert not after.consider({"recall@1": 1.0, "map@r": 0.5}, 2)
    assert after.consider({"recall@1": 1.0, "map@r": 0.7}, 3)
