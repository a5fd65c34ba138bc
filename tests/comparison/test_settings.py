from __future__ import annotations

import copy

import pytest

from metricforge.comparison import Differing, differing_settings, remarkable_differences

PROTOCOL = {
    "similarity": {"type": "CosineSimilarity", "search": "ip", "parameters": 0},
    "self_exclusion": "by id",
    "ties": "by sample order",
    "queries": 6,
    "gallery": 6,
    "classes": 2,
    "queries_without_match": 0,
    "embedding": {"dimensions": 8, "dtype": "float32", "bytes_per_vector": 32},
    "clustering": {"method": "k-means", "clusters": 2, "seed": 0},
    "evaluators": [
        {"type": "RecallAtK", "scores": ["recall@1", "recall@2"], "ks": [1, 2]},
        {"type": "NMI", "scores": ["nmi"], "normalization": "arithmetic", "clusters": "those of `clustering`"},
        {"type": "Verification", "scores": ["eer"], "fars": [0.1], "at_most_pairs": 9, "seed": 0},
        {
            "type": "ScoresBySimilarity",
            "name": "binary",
            "similarity": "HammingSimilarity",
            "scores": ["binary/recall@1", "binary/nmi"],
            "evaluators": [
                {"type": "RecallAtK", "scores": ["recall@1"], "ks": [1]},
                {"type": "NMI", "scores": ["nmi"], "normalization": "arithmetic", "clusters": "those"},
            ],
        },
        {
            "type": "ScoresByClustering",
            "name": "affinity",
            "clustering": {"method": "affinity propagation", "damping": 0.5},
            "scores": ["affinity/nmi"],
            "evaluators": [{"type": "NMI", "scores": ["nmi"], "normalization": "arithmetic", "clusters": "those"}],
            "counts": {"NMI/clusters_found": 2},
        },
        {
            "type": "ReRanked",
            "name": "reranked",
            "shortlist": 100,
            "shortlist_similarity": "EuclideanSimilarity",
            "scores": ["reranked/recall@1"],
            "evaluators": [{"type": "RecallAtK", "scores": ["recall@1"], "ks": [1]}],
        },
    ],
    "versions": {"torch": "2.6", "faiss": "1.9"},
    "dataset": {"name": "a", "fingerprint": "0123"},
    "preprocessing": {"transform": "[CenterCrop]", "decode": "full", "mean": [0.5], "std": [0.5]},
    "seconds": 1.0,
    "checkpoint": {"file": "best.pth", "sha256": "ab"},
    "epoch": 3,
    "iteration": 30,
    "baselines": {},
}
PLAIN = {"recall@1", "recall@2"}
CLUSTERED = {"nmi", "binary/nmi"}  # by the protocol's own clusters
AFFINITY = {"affinity/nmi"}
BINARY = {"binary/recall@1", "binary/nmi"}
RERANKED = {"reranked/recall@1"}
ALL = PLAIN | CLUSTERED | AFFINITY | BINARY | RERANKED | {"eer"}


def changed(path: list, value) -> dict:
    protocol = copy.deepcopy(PROTOCOL)
    inner = protocol
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return protocol


@pytest.mark.parametrize(
    ("path", "value", "setting", "scores"),
    [
        (["dataset", "fingerprint"], "4567", "dataset.fingerprint", ALL),
        (["queries"], 5, "queries", ALL),
        (["self_exclusion"], "none", "self_exclusion", ALL),
        (["ties"], "at random", "ties", ALL),
        (["preprocessing", "transform"], "[]", "preprocessing.transform", ALL),
        (["preprocessing", "decode"], "fast", "preprocessing.decode", ALL),
        (["similarity", "type"], "PDDM", "similarity.type", ALL - BINARY),
        (["clustering", "seed"], 1, "clustering.seed", CLUSTERED | AFFINITY),
        (["clustering", "method"], "affinity propagation", "clustering.method", CLUSTERED),
        (["evaluators", 1, "normalization"], "geometric", "NMI.normalization", {"nmi"}),
        (["evaluators", 2, "at_most_pairs"], 5, "Verification.at_most_pairs", {"eer"}),
        (["evaluators", 3, "similarity"], "Other", "ScoresBySimilarity.similarity", BINARY),
        (["evaluators", 3, "evaluators", 1, "normalization"], "geometric", "NMI.normalization", {"binary/nmi"}),
        (["evaluators", 4, "clustering", "damping"], 0.9, "ScoresByClustering.clustering.damping", AFFINITY),
        (["evaluators", 5, "shortlist"], 10, "ReRanked.shortlist", RERANKED),
        (["evaluators", 0, "type"], "MyRecall", "evaluator", PLAIN),
    ],
)
def test_a_setting_keeps_those_scores_apart_that_it_decides(path, value, setting, scores):
    other = changed(path, value)
    apart = {score: differing_settings(score, [PROTOCOL, other]) for score in ALL}
    assert {score for score, settings in apart.items() if settings} == scores
    for score in scores:
        assert [one.setting for one in apart[score]] == [setting]
    assert value in apart[next(iter(scores))][0].values or setting == "evaluator"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["checkpoint"], None),
        (["epoch"], 9),
        (["iteration"], 9),
        (["seconds"], 9.0),
        (["baselines"], {"raw": {}}),
        (["versions", "torch"], "3.0"),
        (["embedding", "dimensions"], 512),
        (["similarity", "parameters"], 7),
        (["preprocessing", "mean"], [0.4]),
        (["dataset", "name"], "b"),
        (["evaluators", 0, "ks"], [1, 2, 4]),
        (["evaluators", 2, "fars"], [0.1, 0.01]),
        (["evaluators", 4, "counts", "NMI/clusters_found"], 3),
    ],
)
def test_what_the_model_is_and_when_it_was_measured_keeps_nothing_apart(path, value):
    assert [score for score in ALL if differing_settings(score, [PROTOCOL, changed(path, value)])] == []


def test_a_difference_has_the_values_of_all_runs_and_none_where_one_does_not_say():
    silent = copy.deepcopy(PROTOCOL)
    del silent["preprocessing"]
    found = differing_settings("nmi", [PROTOCOL, changed(["clustering", "seed"], 7), silent])
    assert Differing("clustering.seed", (0, 7, 0)) in found
    assert Differing("preprocessing.transform", ("[CenterCrop]", "[CenterCrop]", None)) in found


def test_protocols_of_before_evaluators_named_their_scores_compare_by_the_rest():
    old = copy.deepcopy(PROTOCOL)
    for evaluator in old["evaluators"]:
        del evaluator["scores"]
    assert differing_settings("nmi", [PROTOCOL, old]) == ()
    old["similarity"]["type"] = "PDDM"
    assert [one.setting for one in differing_settings("recall@1", [PROTOCOL, old])] == ["similarity.type"]


def test_what_changes_no_meaning_but_is_worth_knowing_is_remarked():
    other = changed(["embedding", "dimensions"], 512) | {"epoch": 9, "seconds": 2.0, "iteration": 90}
    assert remarkable_differences([PROTOCOL, other]) == (
        Differing("embedding.dimensions", (8, 512)),
        Differing("epoch", (3, 9)),
    )
