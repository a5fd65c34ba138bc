from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

from metricforge.comparison import compare_runs
from metricforge.errors import ComparisonError, MetricForgeError
from metricforge.evaluation import QueryScores, write_scores

LABELS = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
HAS_MATCH = np.array([True] * 5 + [False] + [True] * 4)
PROTOCOL = {
    "similarity": {"type": "CosineSimilarity"},
    "clustering": {"method": "k-means", "seed": 0},
    "dataset": {"name": "ten images", "fingerprint": "0123"},
    "evaluators": [
        {"type": "RecallAtK", "scores": ["recall@1"], "ks": [1]},
        {"type": "NMI", "scores": ["nmi"], "normalization": "arithmetic", "clusters": "those of `clustering`"},
    ],
    "epoch": 1,
}


def left_by(folder: Path, hits, nmi=0.5, protocol=None, ids=None, queries=True, labels=LABELS, **more) -> Path:
    """What a run leaves in ``folder``: ``hits`` (10,) of its queries, and the rest."""
    values = np.array(hits, dtype=bool)
    ids = np.arange(len(values)) if ids is None else np.array(ids)
    of_queries = QueryScores(ids, labels, HAS_MATCH, {"recall@1": values})
    scores = {"recall@1": of_queries.mean("recall@1"), "nmi": nmi, **more}
    write_scores(folder / "scores.json", scores, protocol or PROTOCOL, of_queries if queries else None)
    return folder


FIRST = [1, 0, 0, 1, 0, 0, 0, 1, 0, 0]  # by class: 1 of 3, 1 of 2, 1 of 4
SECOND = [1, 1, 0, 1, 0, 0, 1, 1, 0, 1]  # 2 of 3, 1 of 2, 3 of 4


def standing(comparison, score, run):
    return next(one for one in comparison.scores if one.name == score).standings[run]


def test_intervals_and_paired_differences_are_those_of_a_loop_over_the_same_draws(tmp_path):
    runs = [left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, nmi=0.75)]
    found = compare_runs(runs, resamples=300, level=0.8, seed=7)
    sizes, firsts, seconds = (3, 2, 4), (1, 1, 1), (2, 1, 3)  # the class without a match is not drawn
    means, differences = [], []
    for draw in np.random.default_rng(7).integers(0, 3, (300, 3)).tolist():
        count = sum(sizes[one] for one in draw)
        means.append(sum(firsts[one] for one in draw) / count)
        differences.append(sum(seconds[one] - firsts[one] for one in draw) / count)
    first, second = standing(found, "recall@1", 0), standing(found, "recall@1", 1)
    assert (first.score, first.difference) == (pytest.approx(3 / 9), None)
    assert first.interval == pytest.approx(np.quantile(means, [0.1, 0.9]))
    assert second.difference.value == pytest.approx(3 / 9)
    assert second.difference.interval == pytest.approx(np.quantile(differences, [0.1, 0.9]))
    rarer = min(sum(d <= 1e-12 for d in differences), sum(d >= -1e-12 for d in differences))
    assert second.difference.p == pytest.approx(2 * (1 + rarer) / 301)
    assert (found.queries, found.classes) == (9, 3)


def test_a_run_beside_one_that_scored_the_same_differs_by_nothing(tmp_path):
    found = compare_runs([left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", FIRST)])
    difference = standing(found, "recall@1", 1).difference
    assert (difference.value, difference.interval, difference.p) == (0, (0, 0), 1)
    assert standing(found, "recall@1", 0).interval == standing(found, "recall@1", 1).interval


def test_a_score_that_is_no_mean_over_queries_has_its_difference_but_no_interval(tmp_path):
    found = compare_runs([left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, nmi=0.75)])
    second = standing(found, "nmi", 1)
    assert (second.score, second.interval) == (0.75, None)
    assert (second.difference.value, second.difference.interval, second.difference.p) == (0.25, None, None)


def test_queries_in_another_order_are_paired_by_id(tmp_path):
    runs = [left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND)]
    straight = compare_runs(runs)
    order = np.random.default_rng(0).permutation(10)
    shuffled = QueryScores(order, LABELS[order], HAS_MATCH[order], {"recall@1": np.array(SECOND, dtype=bool)[order]})
    write_scores(
        tmp_path / "b" / "scores.json", {"recall@1": shuffled.mean("recall@1"), "nmi": 0.5}, PROTOCOL, shuffled
    )
    assert compare_runs(runs) == straight


def test_one_run_alone_has_intervals_and_no_difference(tmp_path):
    found = compare_runs([left_by(tmp_path / "a", FIRST)])
    assert found.runs == ("a",)
    low, high = standing(found, "recall@1", 0).interval
    assert 0 < low < 3 / 9 < high < 1
    assert found.remarks == found.withheld == found.notes == ()


def protocol(**changes):
    return copy.deepcopy(PROTOCOL) | changes


def test_runs_of_another_similarity_are_refused_with_both_values(tmp_path):
    other = protocol(similarity={"type": "PDDM"}, dataset={"name": "ten others", "fingerprint": "4567"})
    runs = [left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, protocol=other)]
    with pytest.raises(ComparisonError) as caught:
        compare_runs(runs)
    assert "similarity.type: a CosineSimilarity, b PDDM" in str(caught.value)
    assert "dataset.fingerprint: a 0123, b 4567" in str(caught.value)
    assert "--force" in str(caught.value)
    forced = compare_runs(runs, force=True)
    assert [score.name for score in forced.scores if score.differing] == ["recall@1", "nmi"]
    assert standing(forced, "recall@1", 1).difference.interval is not None


def test_scores_that_one_setting_decides_are_withheld_alone(tmp_path):
    other = protocol(clustering={"method": "k-means", "seed": 1}, epoch=2)
    runs = [left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, protocol=other)]
    found = compare_runs(runs)
    assert [score.name for score in found.scores] == ["recall@1"]
    assert [(name, [(s.setting, s.values) for s in its]) for name, its in found.withheld] == [
        ("nmi", [("clustering.seed", (0, 1))])
    ]
    assert [(one.setting, one.values) for one in found.remarks] == [("epoch", (1, 2))]
    with pytest.raises(ComparisonError, match=r"clustering\.seed: a 0, b 1"):
        compare_runs(runs, scores=["nmi"])
    assert [score.name for score in compare_runs(runs, force=True).scores] == ["recall@1", "nmi"]


def test_a_run_without_values_of_queries_is_shown_without_interval_and_said(tmp_path):
    old, new = left_by(tmp_path / "old", FIRST, queries=False), left_by(tmp_path / "new", SECOND)
    for runs in ([old, new], [new, old]):
        found = compare_runs(runs)
        place = runs.index(old)
        assert standing(found, "recall@1", place).interval is None
        assert standing(found, "recall@1", 1 - place).interval is not None
        difference = standing(found, "recall@1", 1).difference
        assert (difference.interval, difference.p) == (None, None)
        assert any("old has no values of single queries (scores.queries.npz)" in note for note in found.notes)


def test_runs_on_other_queries_have_no_paired_difference_and_it_is_said(tmp_path):
    runs = [left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, ids=range(5, 15))]
    found = compare_runs(runs)
    second = standing(found, "recall@1", 1)
    assert second.interval is not None
    assert second.difference.value == pytest.approx(3 / 9)
    assert second.difference.interval is None
    assert "the queries of b are not those of a" in found.notes[0]


def test_queries_of_one_class_have_no_interval_and_it_is_said(tmp_path):
    run = left_by(tmp_path / "a", FIRST, labels=np.zeros(10, dtype=int))
    found = compare_runs([run])
    assert standing(found, "recall@1", 0).interval is None
    assert "of one class" in found.notes[0]


def test_scores_that_not_all_runs_have_are_named(tmp_path):
    runs = [left_by(tmp_path / "a", FIRST, mrr=0.5), left_by(tmp_path / "b", SECOND, ami=0.5)]
    assert compare_runs(runs).notes[0] == "not in all runs, so not shown: mrr, ami"
    with pytest.raises(ComparisonError, match=r"b has no score mrr \(known: recall@1, nmi, ami\)"):
        compare_runs(runs, scores=["mrr"])


def test_runs_without_a_common_score_are_refused(tmp_path):
    write_scores(tmp_path / "a.json", {"mrr": 0.5}, {})
    write_scores(tmp_path / "b.json", {"nmi": 0.5}, {})
    with pytest.raises(ComparisonError, match=r"no score in common \(a: mrr; b: nmi\)"):
        compare_runs([tmp_path / "a.json", tmp_path / "b.json"])


def test_runs_are_named_by_what_tells_them_apart(tmp_path):
    runs = [left_by(tmp_path / "x" / "run", FIRST), left_by(tmp_path / "y" / "run", FIRST)]
    write_scores(tmp_path / "y" / "mine.json", {"nmi": 0.5}, PROTOCOL)
    assert compare_runs([*runs, tmp_path / "y" / "mine.json"]).runs == ("x/run", "y/run", "y/mine")
    with pytest.raises(MetricForgeError, match="a folder is named twice"):
        compare_runs([runs[0], runs[0] / "scores.json"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(runs=[]), "runs must name at least one run, got none"),
        (dict(resamples=99), "resamples must be at least 100, got 99"),
        (dict(level=1.0), "level must be between 0 and 1, got 1"),
        (dict(level=95), "level must be between 0 and 1, got 95"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, arguments, message):
    with pytest.raises(ComparisonError, match=message):
        compare_runs(**dict(runs=[left_by(tmp_path / "a", FIRST)]) | arguments)


def test_as_json_it_holds_every_figure(tmp_path):
    other = protocol(clustering={"method": "k-means", "seed": 1})
    found = compare_runs([left_by(tmp_path / "a", FIRST), left_by(tmp_path / "b", SECOND, protocol=other)])
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    second = standing(found, "recall@1", 1)
    assert content["scores"][0]["standings"][1] == {
        "score": second.score,
        "interval": list(second.interval),
        "difference": {
            "value": second.difference.value,
            "interval": list(second.difference.interval),
            "p": second.difference.p,
        },
    }
    assert content["withheld"] == {"nmi": [{"setting": "clustering.seed", "values": [0, 1]}]}
    assert math.isclose(content["level"], 0.95)


def test_a_score_of_other_queries_than_those_with_a_match_is_resampled_over_the_classes_of_these(tmp_path):
    mask = np.array([True, True, False, True, False, True, False, True, False, False])  # 2 of class 0, 1 of 1, 2 and 3
    runs = []
    for name, reached in (("a", [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ("b", [1, 1, 0, 0, 0, 1, 0, 0, 0, 0])):
        values = {"recall@1": np.array(FIRST, dtype=bool), "zero_shot@1": np.array(reached, dtype=bool)}
        of_queries = QueryScores(np.arange(10), LABELS, HAS_MATCH, values, counted={"zero_shot@1": mask})
        evaluators = [*PROTOCOL["evaluators"], {"type": "ZeroShot", "scores": ["zero_shot@1"], "ks": [1]}]
        scores = {score: of_queries.mean(score) for score in values}
        write_scores(tmp_path / name / "scores.json", scores, PROTOCOL | {"evaluators": evaluators}, of_queries)
        runs.append(tmp_path / name)
    found = compare_runs(runs, resamples=200, level=0.8, seed=3)
    sizes, firsts, seconds = (2, 1, 1, 1), (1, 1, 0, 0), (2, 0, 1, 0)
    means, differences = [], []
    for draw in np.random.default_rng(3).integers(0, 4, (200, 4)).tolist():
        count = sum(sizes[one] for one in draw)
        means.append(sum(firsts[one] for one in draw) / count)
        differences.append(sum(seconds[one] - firsts[one] for one in draw) / count)
    assert standing(found, "zero_shot@1", 0).score == pytest.approx(2 / 5)
    assert standing(found, "zero_shot@1", 0).interval == pytest.approx(np.quantile(means, [0.1, 0.9]))
    difference = standing(found, "zero_shot@1", 1).difference
    assert difference.value == pytest.approx(1 / 5)
    assert difference.interval == pytest.approx(np.quantile(differences, [0.1, 0.9]))
    assert (found.queries, found.classes) == (10, 4)  # nine have a match, and the tenth counts for zero-shot
    alone = compare_runs([tmp_path / "a"], ["recall@1"], resamples=200, level=0.8, seed=3)
    assert standing(alone, "recall@1", 0).interval == pytest.approx(standing(found, "recall@1", 0).interval)
