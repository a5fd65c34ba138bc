from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from metricforge.evaluation import (
    EvaluationContext,
    QueryScores,
    collect_query_scores,
    context,
    evaluate,
    run_evaluation,
)
from metricforge.evaluators import MRR, NMI, MAPAtR, RecallAtK, ReRanked, ScoresBySimilarity
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

# nearest: 0 -> 1 right, 1 -> 2 wrong, 2 -> 1 wrong, 3 -> 2 and without a match
POINTS, LABELS = np.array([[0.0], [1.0], [1.4], [3.0]], dtype=np.float32), np.array([4, 4, 6, 7])
LABELS_OF_TWO = np.array([4, 4, 6, 6])


class FirstNumber(Similarity):
    """A learned score, as far as a search can tell."""

    symmetric = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None, 0] - y[None, :, 0]).abs()


def collected(experiment, *evaluators, ids=None) -> QueryScores | None:
    return collect_query_scores(run_evaluation(experiment, evaluators), ids)


def test_a_hand_worked_set_gives_each_query_its_value_and_its_nearest_class():
    images = EmbeddingSet(POINTS, LABELS, np.array([10, 11, 12, 13]))
    found = collected(EvaluationContext(images, EuclideanSimilarity()), RecallAtK((1, 2)), NMI())
    assert found.ids.tolist() == [10, 11, 12, 13]
    assert found.labels.tolist() == [4, 4, 6, 7]
    assert found.has_match.tolist() == [True, True, False, False]
    assert list(found.values) == ["recall@1", "recall@2"]  # a clustering score has no queries
    assert found.values["recall@1"].tolist() == [True, False, False, False]
    assert found.nearest[""].tolist() == [4, 6, 4, 6]
    assert found.mean("recall@1") == 0.5


def test_the_means_are_the_scores_of_every_evaluator_that_averages_queries(hard_set):
    evaluators = [RecallAtK((1,)), MAPAtR(), MRR(), ScoresBySimilarity("l2", EuclideanSimilarity(), [MAPAtR()])]
    experiment = EvaluationContext(hard_set, CosineSimilarity())
    scores = evaluate(experiment, evaluators)
    found = collect_query_scores(run_evaluation(experiment, evaluators))
    assert found.values.keys() == scores.keys()
    for name, score in scores.items():
        assert found.mean(name) == pytest.approx(score, abs=1e-6)
        assert found.values[name].dtype in (np.float32, bool)


def test_queries_that_search_a_gallery_find_its_classes():
    gallery = EmbeddingSet(np.array([[0.1], [1.1], [2.9]], dtype=np.float32), np.array([6, 4, 9]))
    experiment = EvaluationContext(EmbeddingSet(POINTS, LABELS), EuclideanSimilarity(), gallery)
    found = collected(experiment, RecallAtK((1,)))
    assert found.nearest[""].tolist() == [6, 4, 4, 9]
    assert found.has_match.tolist() == [True, True, True, False]


def test_each_ranking_has_its_own_nearest_classes_and_a_learned_one_is_not_searched_for_them(monkeypatch):
    images = EmbeddingSet(np.tile(POINTS, (1, 8)), LABELS_OF_TWO)
    experiment = EvaluationContext(images, FirstNumber())
    evaluators = [
        ScoresBySimilarity("binary", HammingSimilarity(), [RecallAtK((1,))]),
        ReRanked(EuclideanSimilarity(), [RecallAtK((1,))], shortlist=2, agreement=[]),
    ]
    evaluate(experiment, evaluators)
    search = context.exact_knn

    def search_by_fixed_ones(queries, gallery, similarity, *arguments, **options):
        assert not isinstance(similarity, FirstNumber)
        return search(queries, gallery, similarity, *arguments, **options)

    monkeypatch.setattr(context, "exact_knn", search_by_fixed_ones)
    found = collect_query_scores(run_evaluation(experiment, evaluators))
    assert list(found.nearest) == ["binary", "reranked"]  # the slow learned score was not asked
    assert found.nearest["binary"].tolist() == [4, 6, 4, 4]  # 0 is alone, the others tie: by sample order
    assert found.nearest["reranked"].tolist() == [4, 6, 4, 6]


def test_nothing_is_searched_for_the_nearest_classes_unless_they_are_asked_for():
    experiment = EvaluationContext(EmbeddingSet(POINTS, LABELS), EuclideanSimilarity())
    evaluate(experiment, [MRR()])
    assert collect_query_scores(run_evaluation(experiment, [MRR()]), nearest=False).nearest == {}
    assert collect_query_scores(run_evaluation(experiment, [MRR()])).nearest[""].tolist() == [4, 6, 4, 6]


def test_without_a_score_of_queries_there_is_nothing_to_keep():
    assert collected(EvaluationContext(EmbeddingSet(POINTS, LABELS), EuclideanSimilarity()), NMI()) is None


def test_ids_of_text_and_names_of_classes_are_kept():
    images = EmbeddingSet(POINTS, np.array([0, 0, 1, 1]), class_names=("ape", "bee"))
    experiment = EvaluationContext(images, EuclideanSimilarity())
    found = collected(experiment, RecallAtK((1,)), ids=np.array(list("abcd")))
    assert found.ids.tolist() == list("abcd")
    assert [found.class_name(label) for label in (0, 1)] == ["ape", "bee"]


def test_values_are_computed_once(monkeypatch):
    asked = []
    compute = RecallAtK.from_ranks
    monkeypatch.setattr(RecallAtK, "from_ranks", lambda self, ranks: asked.append(self.ks) or compute(self, ranks))
    nested = ScoresBySimilarity("cosine", CosineSimilarity(), [RecallAtK((2,))])
    collected(EvaluationContext(EmbeddingSet(POINTS, LABELS), EuclideanSimilarity()), RecallAtK((1,)), nested)
    assert asked == [(1,), (2,)]


def test_columns_of_different_length_are_refused():
    three = np.arange(3)
    with pytest.raises(ValueError, match="a value for each query, got shapes"):
        QueryScores(three, three, np.ones(3, dtype=bool), {"recall@1": np.ones(2)})
