from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import NearestClassMean
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def brute_force_ncm(queries: EmbeddingSet, gallery: EmbeddingSet, kind: str, ks: tuple[int, ...]) -> dict[str, float]:
    """A loop over queries and classes in float64; a query of the gallery's is left out by its id."""

    def vector(row: np.ndarray) -> np.ndarray:
        row = row.astype(np.float64)
        if kind == "hamming":
            return (row > 0).astype(np.float64)
        return row / np.linalg.norm(row) if kind == "cosine" else row

    def score(x: np.ndarray, members: np.ndarray) -> float:
        mean = members.mean(axis=0)
        if kind == "hamming":
            return -float((x != (mean > 0.5)).sum())
        return float(x @ mean / np.linalg.norm(mean)) if kind == "cosine" else -float(np.linalg.norm(x - mean))

    ranks = []
    rows = np.stack([vector(row) for row in gallery.embeddings])
    for embedding, label, identity in zip(queries.embeddings, queries.labels, queries.ids, strict=True):
        members = {c: rows[(gallery.labels == c) & (gallery.ids != identity)] for c in np.unique(gallery.labels)}
        if label not in members or not len(members[label]):
            continue
        # a class whose only image is the query stands where that image is, and is as near as can be
        members = {c: m if len(m) else rows[gallery.labels == c] for c, m in members.items()}
        scores = {c: score(vector(embedding), m) for c, m in members.items()}
        ranks.append(1 + sum((round(s, 9), -c) > (round(scores[label], 9), -label) for c, s in scores.items()))
    return {f"ncm@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in ks}


SIMILARITIES = {"euclidean": EuclideanSimilarity(), "cosine": CosineSimilarity(), "hamming": HammingSimilarity()}


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_it_equals_a_loop_over_classes_on_every_hard_set(hard_set, kind):
    context = EvaluationContext(hard_set, SIMILARITIES[kind])
    expected = brute_force_ncm(hard_set, hard_set, kind, (1, 3))
    assert NearestClassMean((1, 3)).evaluate(context) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_it_equals_a_loop_over_classes_with_a_gallery(kind):
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 9, 90)
    embeddings = (generator.normal(size=(90, 16)) + 0.7 * np.eye(16)[labels]).astype(np.float32)
    labels[:3] = 50  # the gallery lacks it
    queries = EmbeddingSet(embeddings[:50], labels[:50], ids=np.arange(50))
    gallery = EmbeddingSet(embeddings[30:], labels[30:], ids=np.arange(30, 90))
    context = EvaluationContext(queries, SIMILARITIES[kind], gallery, shared_ids=True)
    expected = brute_force_ncm(queries, gallery, kind, (1, 5))
    assert 0 < expected["ncm@1"] < 1
    assert NearestClassMean().evaluate(context) == pytest.approx(expected, abs=1e-12)


def test_it_equals_scikit_learn_s_nearest_centroid_on_a_gallery_of_its_own():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 6, 120)
    embeddings = generator.normal(size=(120, 5)) + 0.8 * np.eye(6, 5)[labels]
    context = EvaluationContext(
        EmbeddingSet(embeddings[:60], labels[:60]), EuclideanSimilarity(), EmbeddingSet(embeddings[60:], labels[60:])
    )
    expected = NearestCentroid().fit(embeddings[60:], labels[60:]).score(embeddings[:60], labels[:60])
    assert 0 < expected < 1
    assert NearestClassMean((1,)).evaluate(context) == {"ncm@1": pytest.approx(expected, abs=1e-12)}


def test_a_query_never_helps_its_own_class():
    # the others of class 0 are at 10 and 0, further than the mean of class 1
    images = EmbeddingSet(np.array([[0.0], [10.0], [3.0], [3.5]]), np.array([0, 0, 1, 1]))
    scores = NearestClassMean((1, 2)).evaluate(EvaluationContext(images, EuclideanSimilarity()))
    assert scores == {"ncm@1": 0.5, "ncm@2": 1.0}


class LearnedScore(Similarity):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def pairwise(self, x, y):
        return -self.weight * (x[:, None] - y[None]).abs().sum(dim=2)


def test_a_learned_similarity_compares_queries_with_means_itself():
    images = EmbeddingSet(np.array([[0.0], [10.0], [3.0], [3.5]], dtype=np.float32), np.array([0, 0, 1, 1]))
    assert NearestClassMean((1,)).evaluate(EvaluationContext(images, LearnedScore())) == {"ncm@1": 0.5}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(NearestClassMean())
