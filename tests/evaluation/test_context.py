from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import metricforge
from metricforge.evaluation import EvaluationContext, context
from metricforge.evaluation.evaluator import mean_over_queries
from metricforge.evaluators import RecallAtK
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def embedding_set(values, labels) -> EmbeddingSet:
    return EmbeddingSet(np.array(values, dtype=np.float32), np.array(labels))


@pytest.fixture
def searches(monkeypatch) -> list[int]:
    """The k of every search that really ran."""
    asked = []
    search = context.exact_knn

    def counting(queries, gallery, similarity, k, **options):
        asked.append(k)
        return search(queries, gallery, similarity, k, **options)

    monkeypatch.setattr(context, "exact_knn", counting)
    return asked


def test_smaller_k_reads_the_first_columns_of_what_was_searched(searches):
    values = np.random.default_rng(0).normal(size=(20, 3))
    experiment = EvaluationContext(embedding_set(values, [0] * 20), EuclideanSimilarity())
    experiment.prefetch(8)
    of_eight, of_three = experiment.neighbours(8), experiment.neighbours(3)
    assert searches == [8]
    assert (of_three == of_eight[:, :3]).all()
    experiment.neighbours(9)
    assert searches == [8, 9]


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_an_error_also_after_a_search(k):
    experiment = EvaluationContext(embedding_set(np.eye(4), [0, 0, 1, 1]), EuclideanSimilarity())
    experiment.prefetch(2)
    with pytest.raises(ValueError, match=rf"k \({k}\) must be in 1\.\.3"):
        experiment.neighbours(k)


def test_hits_say_whether_a_neighbour_is_of_the_querys_class():
    experiment = EvaluationContext(embedding_set([[0.0], [1.0], [1.1]], [0, 0, 1]), EuclideanSimilarity())
    assert experiment.neighbours(2).tolist() == [[1, 2], [2, 0], [1, 0]]
    assert experiment.hits(2).tolist() == [[True, False], [False, True], [False, False]]


def test_a_duplicate_of_another_class_comes_first_and_is_no_hit():
    images = embedding_set([[1.0], [1.0], [1.5]], [0, 1, 0])
    experiment = EvaluationContext(images, EuclideanSimilarity())
    assert experiment.neighbours(1)[:, 0].tolist() == [1, 0, 0]
    assert experiment.hits(1)[:, 0].tolist() == [False, False, True]


def test_matches_leave_out_the_query_itself_and_count_those_with_none():
    experiment = EvaluationContext(embedding_set(np.eye(5), [7, 7, 7, 2, 9]), EuclideanSimilarity())
    assert experiment.matches.tolist() == [2, 2, 2, 0, 0]
    assert experiment.task.queries_without_match == 2
    assert experiment.task.num_classes == 3


def test_matches_of_a_gallery_count_everything_in_it_and_classes_missing_there():
    queries = embedding_set(np.eye(4), [1, 5, 9, -3])
    gallery = embedding_set(np.zeros((5, 4)), [1, 1, 5, 6, 1])
    experiment = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery)
    assert experiment.matches.tolist() == [3, 1, 0, 0]
    assert experiment.task.queries_without_match == 2


def test_ids_of_queries_and_gallery_are_not_compared():
    queries, gallery = embedding_set(np.eye(3), [0, 1, 2]), embedding_set(np.eye(3), [0, 1, 2])
    assert (queries.ids == gallery.ids).all()
    experiment = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery)
    assert experiment.neighbours(1)[:, 0].tolist() == [0, 1, 2]


def test_clusters_find_separate_blobs_and_are_the_same_for_the_same_seed():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    centres = np.array([[0.0, 9.0], [9.0, 0.0], [-9.0, -9.0]])
    images = embedding_set(centres[labels] + generator.normal(size=(90, 2)), labels)
    experiment = EvaluationContext(images, EuclideanSimilarity(), seed=4)
    clusters = experiment.clusters()
    assert clusters is experiment.clusters()
    pairs = set(zip(labels.tolist(), clusters.tolist(), strict=True))
    assert len(pairs) == 3
    assert {cluster for _, cluster in pairs} == {0, 1, 2}
    again = EvaluationContext(images, EuclideanSimilarity(), seed=4).clusters()
    assert (clusters == again).all()


def test_another_seed_may_give_other_clusters():
    images = embedding_set(np.random.default_rng(0).normal(size=(200, 8)), np.arange(200) % 20)
    first, second = (EvaluationContext(images, EuclideanSimilarity(), seed=seed).clusters() for seed in (0, 1))
    assert (first != second).any()


def test_cosine_clusters_by_direction_not_by_length():
    directions = np.array([[1.0, 0.0], [0.0, 1.0]])
    lengths = np.array([1, 100, 1, 100, 2, 50, 2, 50])[:, None]
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    clusters = EvaluationContext(embedding_set(directions[labels] * lengths, labels), CosineSimilarity()).clusters()
    assert (clusters == clusters[0]).tolist() == (labels == 0).tolist()


def test_as_many_clusters_as_images_gives_each_its_own():
    clusters = EvaluationContext(embedding_set(np.eye(5), range(5)), EuclideanSimilarity()).clusters()
    assert sorted(clusters.tolist()) == [0, 1, 2, 3, 4]


def test_the_similarity_is_copied_in_evaluation_mode_and_training_goes_on_undisturbed():
    class Noisy(Similarity):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            assert not self.training
            return -self.scale * torch.cdist(x, y)

    similarity = Noisy().train()
    images = embedding_set([[0.0], [1.0], [3.0]], [0, 0, 1])
    experiment = EvaluationContext(images, similarity)
    with torch.no_grad():
        similarity.scale.fill_(-1)
    assert experiment.neighbours(1)[:, 0].tolist() == [1, 0, 1]
    assert similarity.training


def test_a_mean_leaves_out_queries_without_match():
    experiment = EvaluationContext(embedding_set(np.eye(4), [0, 0, 1, 2]), EuclideanSimilarity())
    assert mean_over_queries(experiment.matches, np.array([1.0, 0.5, 100.0, 100.0])) == 0.75


def test_no_query_with_a_match_is_an_error_not_a_nan():
    experiment = EvaluationContext(embedding_set(np.eye(3), [0, 1, 2]), EuclideanSimilarity())
    with pytest.raises(ValueError, match="none of the 3 queries has another image of its class"):
        mean_over_queries(experiment.matches, np.zeros(3))


def test_bad_sets_are_refused_with_the_way_out():
    images = embedding_set(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="gallery is the query set itself; leave it out"):
        EvaluationContext(images, EuclideanSimilarity(), gallery=images)
    with pytest.raises(ValueError, match="gallery has 2 dimensions and queries 3"):
        EvaluationContext(images, EuclideanSimilarity(), gallery=embedding_set(np.eye(2), [0, 1]))
    with pytest.raises(ValueError, match="queries must hold at least one embedding"):
        EvaluationContext(EmbeddingSet(np.empty((0, 3)), np.empty(0, dtype=np.int64)), EuclideanSimilarity())


def test_a_query_that_stands_in_the_gallery_is_left_out_of_its_own_neighbours_by_its_id():
    generator = np.random.default_rng(6)
    embeddings = generator.integers(0, 3, (40, 2)).astype(np.float32)  # ties and duplicates everywhere
    everything = EmbeddingSet(embeddings, generator.integers(0, 4, 40), ids=generator.permutation(40) + 7)
    queries = everything.where(np.arange(40) % 3 == 0)
    gallery = everything.where(np.arange(40) % 5 != 0)
    experiment = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery, shared_ids=True)
    assert experiment.gallery_size == len(gallery) - 1
    found = experiment.neighbours(experiment.gallery_size)
    for q in range(len(queries)):
        others = [g for g in range(len(gallery)) if gallery.ids[g] != queries.ids[q]]
        distance = ((gallery.embeddings.astype(float) - queries.embeddings[q]) ** 2).sum(axis=1)
        expected = sorted(others, key=lambda g, distance=distance: (distance[g], g))
        assert found[q].tolist() == expected[: found.shape[1]]
        assert experiment.matches[q] == sum(gallery.labels[g] == queries.labels[q] for g in others)
    with pytest.raises(ValueError, match=rf"k \({len(gallery)}\) must be in 1\.\.{len(gallery) - 1}"):
        experiment.neighbours(len(gallery))


def test_shared_ids_change_nothing_where_queries_and_gallery_are_apart():
    everything = embedding_set(np.random.default_rng(7).normal(size=(20, 3)), np.arange(20) % 3)
    queries, gallery = everything.where(np.arange(20) < 8), everything.where(np.arange(20) >= 8)
    apart = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery, shared_ids=True)
    assert apart.gallery_size == 12
    expected = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery).neighbours(12)
    assert (apart.neighbours(12) == expected).all()


def test_all_that_the_contract_lets_an_evaluator_read_is_there_and_documented():
    contract = metricforge.EvaluationContext
    members = [name for name in vars(contract) if not name.startswith("_")]
    assert {"queries", "gallery", "matches", "neighbours", "hits", "clusters"} <= set(members)
    experiment = EvaluationContext(embedding_set(np.eye(4), [0, 0, 1, 1]), EuclideanSimilarity())
    assert [name for name in members if not hasattr(experiment, name)] == []
    assert [name for name in members if not getattr(contract, name).__doc__] == []


def test_evaluators_of_the_core_say_that_they_need_more_than_the_contract():
    class Other:
        gallery_size = 9

    with pytest.raises(TypeError, match=r"context must be a metricforge\.evaluation\.EvaluationContext, got Other"):
        RecallAtK((1,)).per_query(Other())
