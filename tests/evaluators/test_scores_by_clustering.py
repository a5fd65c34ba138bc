from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from metricforge import EVALUATORS, Clustering
from metricforge.clusterings import AffinityPropagation, KMeans
from metricforge.errors import ConfigError
from metricforge.evaluation import EvaluationContext, describe_protocol, evaluate, run_evaluation
from metricforge.evaluators import NMI, PairF1, RecallAtK, ScoresByClustering, ScoresInSpace
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


class ByFirstNumber(Clustering):
    """Two clusters: the first number is above 0 or not."""

    def __init__(self) -> None:
        self.asked = 0

    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        self.asked += 1
        return (embeddings[:, 0] > 0).astype(np.int64)


@pytest.fixture
def images() -> EmbeddingSet:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 100)
    return EmbeddingSet((np.eye(5, 6)[labels] * 3 + generator.normal(size=(100, 6))).astype(np.float32), labels)


def test_it_keeps_the_contract():
    check_evaluator(ScoresByClustering("affinity", AffinityPropagation(), [NMI(), PairF1()]))


def test_the_same_scores_stand_side_by_side_by_either_clustering(images):
    context = EvaluationContext(images, EuclideanSimilarity())
    clustering = ByFirstNumber()
    scores = evaluate(context, [NMI(), ScoresByClustering("first", clustering, [NMI(), PairF1()])])
    assert list(scores) == ["nmi", "first/nmi", "first/f1"]
    own = normalized_mutual_info_score(images.labels, (images.embeddings[:, 0] > 0))
    assert scores["first/nmi"] == pytest.approx(own, abs=1e-12)
    assert scores["nmi"] == evaluate(EvaluationContext(images, EuclideanSimilarity()), [NMI()])["nmi"]
    assert clustering.asked == 1


def test_what_is_clustered_is_what_the_similarity_prepares(images):
    stretched = EmbeddingSet(images.embeddings * np.linspace(1, 9, 100, dtype=np.float32)[:, None], images.labels)
    by_affinity = ScoresByClustering("affinity", AffinityPropagation(), [NMI()])
    first, second = (evaluate(EvaluationContext(one, CosineSimilarity()), [by_affinity]) for one in (images, stretched))
    assert first == pytest.approx(second, abs=1e-6)


def test_the_protocol_tells_how_and_how_many_clusters_there_are(images):
    context = EvaluationContext(images, EuclideanSimilarity())
    evaluators = [
        NMI(),
        ScoresByClustering("first", ByFirstNumber(), [NMI()]),
        ScoresByClustering("more", KMeans(starts=5), [NMI()]),
    ]
    evaluate(context, evaluators)
    own, first, more = describe_protocol(run_evaluation(context, evaluators))["evaluators"]
    assert own["counts"]["clusters_found"] == 5
    assert first["counts"]["NMI/clusters_found"] == 2
    assert (more["name"], more["clustering"]["starts"]) == ("more", 5)


def test_neighbours_are_searched_no_second_time(images, monkeypatch):
    context = EvaluationContext(images, EuclideanSimilarity())
    context.prefetch(3)
    monkeypatch.setattr("metricforge.evaluation.context.exact_knn", None)
    assert context.clustered_by(KMeans(starts=2)).neighbours(3).shape == (100, 3)


def test_another_similarity_keeps_the_clustering(images):
    context = EvaluationContext(images, EuclideanSimilarity(), clustering=ByFirstNumber())
    assert set(context.by(CosineSimilarity()).clusters().tolist()) == {0, 1}


def test_a_smaller_space_is_clustered_by_each_clustering_for_itself(images):
    context = EvaluationContext(images, EuclideanSimilarity())
    in_space = [ScoresInSpace("first:3", [NMI()])]
    scores = evaluate(context, [*in_space, ScoresByClustering("first", ByFirstNumber(), in_space)])
    own = normalized_mutual_info_score(images.labels, (images.embeddings[:, 0] > 0))
    assert scores["first/first:3/nmi"] == pytest.approx(own, abs=1e-12)
    assert scores["first:3/nmi"] != scores["first/first:3/nmi"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((" ", KMeans(), [NMI()]), "name must say"),
        (("a", "KMeans", [NMI()]), "clustering must be one, such as .* got str"),
        (("a", KMeans(), []), "at least one evaluator"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScoresByClustering(*arguments)


def test_a_config_builds_it_and_names_what_is_misspelt():
    built = EVALUATORS.build(
        dict(
            type="ScoresByClustering",
            name="affinity",
            clustering=dict(type="AffinityPropagation", neighbours=50),
            evaluators=[dict(type="RecallAtK")],
        )
    )
    assert built.clustering.neighbours == 50
    assert isinstance(built.evaluators[0], RecallAtK)
    with pytest.raises(ConfigError, match=r'clustering\.type: "Kmeans" is not a registered clustering; .*"KMeans"'):
        EVALUATORS.build(
            dict(type="ScoresByClustering", name="a", clustering=dict(type="Kmeans"), evaluators=[dict(type="NMI")])
        )
