from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from metricforge.evaluation import EvaluationContext
from metricforge.evaluation.evaluator import (
    ClusterEvaluator,
    QueryEvaluator,
    RankEvaluator,
    mean_over_queries,
    neighbours_for_ranks,
    values_from_ranks,
)
from metricforge.evaluation.ranking.match_ranks import Depth
from metricforge.interfaces import Clustering, Similarity
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

# Nearest first: 0: 1 2 3 4; 1: 0 2 3 4 (both at 1); 2: 1 0 3 4; 3: 4 2 1 0; 4: 3 2 1 0
POINTS, LABELS = np.array([[0.0], [1.0], [2.0], [6.0], [7.0]]), np.array([0, 1, 0, 1, 2])


class Plane(Similarity):
    """A similarity that no index knows."""

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None] - y[None]).abs().sum(dim=2)


def context(similarity: Similarity | None = None, **options) -> EvaluationContext:
    return EvaluationContext(EmbeddingSet(POINTS, LABELS), similarity or EuclideanSimilarity(), **options)


class FirstRank(RankEvaluator):
    def ranks_needed(self, context):
        return Depth(first=context.gallery_size)

    def from_ranks(self, ranks):
        return {"first_rank": ranks.first.astype(float)}


def test_the_mean_is_over_queries_with_a_match_unless_others_are_counted():
    class Numbers(QueryEvaluator):
        def per_query(self, context):
            return {"plain": np.array([1.0, 2.0, 3.0, 4.0, 100.0]), "own": np.array([1.0, 2.0, 3.0, 4.0, 100.0])}

        def counted_queries(self, context):
            return {"own": np.array([False, True, False, False, True])}

    assert Numbers().evaluate(context()) == {"plain": 2.5, "own": 51.0}


def test_flags_and_float32_are_averaged_in_float64():
    matches = context().matches
    assert mean_over_queries(matches, np.array([True, False, True, True, True])) == 0.75
    tiny = np.array([1, 2**-30, 0, 0, 0], dtype=np.float32)
    assert mean_over_queries(matches, tiny) == (1 + 2**-30) / 4


def test_without_any_match_no_retrieval_score_is_defined():
    lonely = EvaluationContext(EmbeddingSet(np.eye(3), np.arange(3)), EuclideanSimilarity())
    with pytest.raises(ValueError, match="none of the 3 queries has another image of its class"):
        mean_over_queries(lonely.matches, np.ones(3))


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), Plane()])
def test_a_rank_evaluator_alone_scores_the_hand_worked_ranks(similarity):
    own = context(similarity)
    assert FirstRank().per_query(own)["first_rank"][:4].tolist() == [2, 3, 2, 3]
    assert FirstRank().evaluate(own) == {"first_rank": 2.5}


def test_a_rank_evaluator_refuses_a_rank_that_cannot_be_before_a_search():
    class TooDeep(FirstRank):
        def ranks_needed(self, context):
            raise ValueError("too deep")

    with pytest.raises(ValueError, match="too deep"):
        TooDeep().neighbours_needed(context())
    assert FirstRank().neighbours_needed(context()) == 0


def test_neighbours_are_read_only_where_counting_is_slower():
    generator = np.random.default_rng(0)
    images = EmbeddingSet(generator.normal(size=(40, 2)), np.repeat(np.arange(20), 2))
    searched, learned = (EvaluationContext(images, similarity) for similarity in (EuclideanSimilarity(), Plane()))
    assert neighbours_for_ranks(searched, Depth(first=3)) == 0
    assert neighbours_for_ranks(learned, Depth(first=3)) == 3
    assert neighbours_for_ranks(learned, Depth(first=30)) == 0  # too deep to pay
    by_neighbours = learned.with_neighbours(learned.neighbours)
    assert neighbours_for_ranks(by_neighbours, Depth(first=30)) == 30
    assert neighbours_for_ranks(by_neighbours, Depth(first=10**6)) == 39


def test_one_pass_gives_the_values_of_all_evaluators_and_the_nearest_labels():
    class HasMatch(FirstRank):
        def from_ranks(self, ranks):
            return {"has_match": ranks.matches > 0}

    own = context()
    first, has_match = values_from_ranks(own, [FirstRank(), HasMatch()], Depth(first=4), nearest=True)
    assert first["first_rank"][:4].tolist() == [2, 3, 2, 3]
    assert has_match["has_match"].tolist() == [True, True, True, True, False]
    assert own.nearest_labels.tolist() == [1, 0, 1, 2, 1]
    assert own.known_neighbours == 0  # nothing was searched for it


def test_a_cluster_evaluator_counts_clusters_and_names_those_wanted_where_they_differ():
    class Together(Clustering):
        def __init__(self, found):
            self.found = found

        def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
            return np.arange(len(embeddings)) % self.found

    class Clusters(ClusterEvaluator):
        def evaluate(self, context):
            return {"clusters": float(len(set(context.clusters().tolist())))}

    for found, counts in ((3, {"clusters_found": 3}), (2, {"clusters_found": 2, "clusters_wanted": 3})):
        own = context(clustering=Together(found))
        assert Clusters().counts(own) == {}  # nobody has asked for clusters
        assert Clusters().evaluate(own) == {"clusters": found}
        assert Clusters().counts(own) == counts
