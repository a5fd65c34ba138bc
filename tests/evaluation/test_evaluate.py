from __future__ import annotations

import numpy as np
import pytest

from metricforge.clusterings import KMeans
from metricforge.evaluation import EvaluationContext, context, evaluate, evaluator, run_evaluation
from metricforge.evaluation.ranking.match_ranks import Depth
from metricforge.evaluators import NMI, MAPAtR, RecallAtK, RPrecision, ScoresByClustering, ScoresBySimilarity
from metricforge.interfaces import Evaluator
from metricforge.registry import EVALUATORS
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


@pytest.fixture
def experiment() -> EvaluationContext:
    generator = np.random.default_rng(0)
    return EvaluationContext(
        EmbeddingSet(generator.normal(size=(40, 3)), generator.integers(0, 4, 40)), EuclideanSimilarity()
    )


def test_every_evaluator_is_registered_by_its_name():
    assert {"RecallAtK", "MAPAtR", "RPrecision", "NMI"} <= set(EVALUATORS.names())
    assert EVALUATORS.build({"type": "RecallAtK", "ks": [1, 5]}).ks == (1, 5)


def test_neighbours_are_searched_once_for_the_largest_k(experiment, monkeypatch):
    asked = []
    search = context.exact_knn

    def counting(queries, gallery, similarity, k, **options):
        asked.append(k)
        return search(queries, gallery, similarity, k, **options)

    class Agreement(Evaluator):
        """What a plug-in of its own may read: the neighbours themselves."""

        def __init__(self, k):
            self.k = k

        def neighbours_needed(self, context):
            return self.k

        def evaluate(self, context):
            return {f"own@{self.k}": float(context.hits(self.k).mean())}

    monkeypatch.setattr(context, "exact_knn", counting)
    evaluate(experiment, [Agreement(2), RecallAtK((1, 2)), Agreement(30)])
    assert asked == [30]


def test_ranks_are_found_once_for_all_and_no_neighbours_are_searched(experiment, monkeypatch):
    asked = []
    find = evaluator.match_ranks

    def counting(task, similarity, depth, **options):
        asked.append(depth)
        return find(task, similarity, depth, **options)

    monkeypatch.setattr(evaluator, "match_ranks", counting)
    monkeypatch.setattr(context, "exact_knn", None)
    scores = evaluate(experiment, [RecallAtK((1, 2)), MAPAtR(), NMI(), RPrecision(), RecallAtK((30,))])
    assert asked == [Depth(first=30, up_to_r=True)]
    assert list(scores) == ["recall@1", "recall@2", "map@r", "nmi", "r_precision", "recall@30"]
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("run", [evaluate, run_evaluation])
def test_how_deep_ranks_are_read_is_asked_once_of_each_evaluator_however_deep_it_is_nested(experiment, run):
    asked = []

    class Asked(RecallAtK):
        def ranks_needed(self, context):
            asked.append(self.ks)
            return super().ranks_needed(context)

        def from_ranks(self, ranks):
            return {f"asked@{k}": ranks.first <= k for k in self.ks}

    inner = [Asked((3,)), ScoresByClustering("again", KMeans(starts=2), [Asked((4,)), NMI()])]
    evaluators = [Asked((1,)), Asked((2,)), ScoresBySimilarity("cosine", CosineSimilarity(), inner)]
    for evaluation in range(1, 3):
        run(experiment, evaluators)
        assert sorted(asked) == sorted([(1,), (2,), (3,), (4,)] * evaluation)


def test_clustering_scores_alone_need_no_search_and_no_match(monkeypatch):
    monkeypatch.setattr(context, "exact_knn", None)
    images = EmbeddingSet(np.eye(3), np.arange(3))
    assert evaluate(EvaluationContext(images, EuclideanSimilarity()), [NMI()]) == {"nmi": pytest.approx(1.0)}


def test_two_evaluators_of_one_score_name_are_refused_by_name(experiment):
    with pytest.raises(ValueError, match='both RecallAtK and RecallAtK give a score named "recall@2"'):
        evaluate(experiment, [RecallAtK((1, 2)), RecallAtK((2, 4))])


def test_too_large_a_k_is_refused_before_anything_is_searched(experiment, monkeypatch):
    monkeypatch.setattr(context, "exact_knn", None)
    with pytest.raises(ValueError, match=r"ks of RecallAtK must be at most 39.*leave out \[40\]"):
        evaluate(experiment, [RecallAtK((1,)), RecallAtK((2, 40))])


@pytest.mark.parametrize("nested", [False, True])
def test_more_neighbours_than_there_are_images_are_refused_before_anything_is_searched(experiment, monkeypatch, nested):
    class Neighbours(Evaluator):
        def neighbours_needed(self, context):
            return 40

        def evaluate(self, context):
            raise AssertionError("it is asked for scores")

    monkeypatch.setattr(context, "exact_knn", None)
    evaluators = [Neighbours()]
    if nested:
        evaluators = [ScoresBySimilarity(name="cosine", similarity=CosineSimilarity(), evaluators=evaluators)]
    with pytest.raises(ValueError, match=r"Neighbours reads 40 neighbours .* a query can find 39 images"):
        evaluate(experiment, evaluators)


def test_no_evaluator_is_refused(experiment):
    with pytest.raises(ValueError, match="at least one evaluator"):
        evaluate(experiment, [])
