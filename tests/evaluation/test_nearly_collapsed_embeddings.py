"""Scores of embeddings that are nearly all the same, against float64 on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from metricforge.clusterings import AffinityPropagation, KMeans
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.embedding_spread import CollapsedEmbeddingsWarning, embedding_spread
from metricforge.evaluation.evaluate import evaluate, run_evaluation
from metricforge.evaluation.results.protocol import describe_protocol
from metricforge.evaluators import MAPAtR, NearestClassMean, RecallAtK, RPrecision, ScoresInSpace, Verification
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

CLASSES, IMAGES, DIM = 40, 10, 64
LABELS = np.repeat(np.arange(CLASSES), IMAGES)


class InnerProduct(Similarity):
    search = "ip"

    def pairwise(self, x, y):
        return x @ y.T


def collapsed(spread: float, noise: float = 0.6, dtype: type = np.float32) -> np.ndarray:
    generator = np.random.default_rng(0)
    spot, centres = generator.normal(size=DIM), generator.normal(size=(CLASSES, DIM))
    return (spot + spread * (centres[LABELS] + noise * generator.normal(size=(len(LABELS), DIM)))).astype(dtype)


def in_float64(embeddings: np.ndarray, similarity: object) -> np.ndarray:
    rows = embeddings.astype(np.float64)
    if not isinstance(similarity, CosineSimilarity):
        return rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def scores_in_float64(queries, gallery, similarity):
    """Minus squared distances, which rank unit vectors as their products do; products of others."""
    if isinstance(similarity, InnerProduct):
        return np.stack([(row * gallery).sum(axis=1) for row in queries])
    scores = -np.stack([((row - gallery) ** 2).sum(axis=1) for row in queries])
    if isinstance(similarity, CosineSimilarity):
        scores[~queries.any(axis=1)[:, None] | ~gallery.any(axis=1)] = -2  # at a cosine of 0
    return scores


def retrieval_in_float64(queries, gallery, query_labels, gallery_labels, similarity, *, itself):
    """Recall@1, MAP@R and R-precision."""
    scores = scores_in_float64(queries, gallery, similarity)
    if itself:
        np.fill_diagonal(scores, -np.inf)
    hits = gallery_labels[np.argsort(-scores, axis=1, kind="stable")] == query_labels[:, None]
    total = IMAGES - 1 if itself else IMAGES // 2
    top = hits[:, :total]
    precision = np.cumsum(top, axis=1) / np.arange(1, total + 1)
    return hits[:, 0].mean(), (precision * top).sum(axis=1).mean() / total, top.mean()


def assert_scores_are_those_of_float64(embeddings, similarity):
    rows = in_float64(embeddings, similarity)
    halves = np.arange(len(rows)) % 2 == 0
    for itself in (True, False):
        if itself:
            context = EvaluationContext(EmbeddingSet(embeddings, LABELS), similarity)
            searched = rows, rows, LABELS, LABELS
        else:
            queries, gallery = (EmbeddingSet(embeddings[part], LABELS[part]) for part in (halves, ~halves))
            context = EvaluationContext(queries, similarity, gallery)
            searched = rows[halves], rows[~halves], LABELS[halves], LABELS[~halves]
        scores = evaluate(context, [RecallAtK([1]), MAPAtR(), RPrecision()])
        expected = retrieval_in_float64(*searched, similarity, itself=itself)
        assert (scores["recall@1"], scores["map@r"], scores["r_precision"]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1e-2, 3e-4, 1e-4, 1e-5])
@pytest.mark.parametrize("noise", [0.1, 1.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_retrieval_scores_are_those_of_float64(similarity, spread, noise, dtype):
    assert_scores_are_those_of_float64(collapsed(spread, noise, dtype), similarity)


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tight_groups_that_are_far_apart_are_ranked_as_float64_does(similarity, dtype):
    spots = np.random.default_rng(1).normal(size=(4, DIM))[np.arange(len(LABELS)) % 4]
    embeddings = (spots + collapsed(1e-5, 1.5, np.float64) - collapsed(0, 0, np.float64)).astype(dtype)
    assert_scores_are_those_of_float64(embeddings, similarity)


@pytest.mark.parametrize("spread", [1e-3, 1e-5])
@pytest.mark.parametrize("kind", ["cosine with blank images", "cosine with an outlier", "inner product"])
def test_what_cannot_be_moved_to_the_origin_is_ranked_as_float64_does(kind, spread):
    embeddings = collapsed(spread, 1.5)
    if kind == "cosine with blank images":
        embeddings[[5, 77]] = 0
    if kind == "cosine with an outlier":
        embeddings[9] *= -1
    similarity = InnerProduct() if kind == "inner product" else CosineSimilarity()
    assert_scores_are_those_of_float64(embeddings, similarity)
    assert_scores_are_those_of_float64(embeddings.astype(np.float64) * (1 + 1e-9), similarity)


def test_lengths_that_only_float64_tells_apart_count_for_inner_products():
    rows = in_float64(collapsed(1e-5, 1.5, np.float64), CosineSimilarity())
    lengths = 1 + 1e-8 * np.random.default_rng(2).normal(size=(len(rows), 1))
    assert_scores_are_those_of_float64(rows * lengths, InnerProduct())


def test_one_blank_image_changes_nothing_for_the_others():
    embeddings = collapsed(1e-4, 0.1)
    embeddings[7] = -embeddings[7]
    scores = evaluate(EvaluationContext(EmbeddingSet(embeddings, LABELS), CosineSimilarity()), [RecallAtK([1])])
    assert scores["recall@1"] == pytest.approx(1 - 1 / len(LABELS))


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
def test_class_means_pairs_and_principal_directions_tell_the_classes_apart_too(similarity):
    context = EvaluationContext(EmbeddingSet(collapsed(1e-4, 0.1), LABELS), similarity)
    space = ScoresInSpace("pca:32", [RecallAtK([1])])
    scores = evaluate(context, [NearestClassMean([1]), Verification(), space])
    assert scores["ncm@1"] == 1
    assert scores["roc_auc"] == pytest.approx(1, abs=1e-6)
    assert scores["pca:32/recall@1"] == 1


def test_signs_are_compared_as_they_are():
    embeddings = collapsed(1e-4, 0.1)
    scores = evaluate(EvaluationContext(EmbeddingSet(embeddings, LABELS), HammingSimilarity()), [RecallAtK([1])])
    bits = embeddings > 0
    assert (bits == bits[0]).all()
    assert scores["recall@1"] == pytest.approx(1 / CLASSES, abs=2 / len(LABELS))  # all tie


@pytest.mark.parametrize("offset", [1e4, 1e7])
@pytest.mark.parametrize("clustering", [KMeans(), AffinityPropagation(damping=0.9)], ids=["k-means", "affinity"])
def test_clusters_do_not_depend_on_an_offset_that_all_embeddings_share(offset, clustering):
    generator = np.random.default_rng(0)
    rows = 10 * generator.normal(size=(CLASSES, DIM))[LABELS] + generator.normal(size=(len(LABELS), DIM))
    found = []
    for embeddings in (rows, rows + offset, (64 * rows + offset).astype(np.float32)):
        context = EvaluationContext(EmbeddingSet(embeddings, LABELS), EuclideanSimilarity(), clustering=clustering)
        found.append(normalized_mutual_info_score(LABELS, context.clusters()))
    assert found[0] > 0.9
    assert found[1] == pytest.approx(found[0], abs=0.02)
    assert found[2] == pytest.approx(found[0], abs=0.05)


def test_the_clusters_of_cosines_are_told_apart_in_collapsed_embeddings():
    context = EvaluationContext(EmbeddingSet(collapsed(1e-4, 0.1), LABELS), CosineSimilarity())
    assert normalized_mutual_info_score(LABELS, context.clusters()) > 0.9


def test_a_collapse_is_warned_of_and_stands_in_the_protocol():
    context = EvaluationContext(EmbeddingSet(collapsed(1e-4), LABELS), CosineSimilarity())
    with pytest.warns(CollapsedEmbeddingsWarning, match=r"nearly all the same \(spread 0\.00013 .* of 64\)"):
        evaluate(context, [RecallAtK([1])])
    written = describe_protocol(run_evaluation(context, [RecallAtK([1])]))["embedding_spread"]
    assert written["spread"] == pytest.approx(1.3e-4, rel=0.05)
    assert 20 < written["effective_rank"] < 64


def test_embeddings_on_a_line_are_warned_of(recwarn):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(len(LABELS), 1)) * np.ones(DIM) + 1e-3 * generator.normal(size=(len(LABELS), DIM))
    for embeddings, expected in ((rows, True), (generator.normal(size=rows.shape), False)):
        evaluate(EvaluationContext(EmbeddingSet(embeddings, LABELS), EuclideanSimilarity()), [RecallAtK([1])])
        assert bool([one for one in recwarn if "nearly on one line" in str(one.message)]) == expected
        recwarn.clear()


def test_spread_and_effective_rank_of_known_sets():
    axes = np.concatenate([np.eye(5), -np.eye(5)])
    assert embedding_spread(axes) == pytest.approx((1, 5))
    assert embedding_spread(1e30 * axes + 1e31) == pytest.approx((0.0447, 5), rel=1e-2)
    assert embedding_spread(np.full((4, 3), 0.3)) == (0, 0)
    assert embedding_spread(np.zeros((4, 3))) == (0, 0)
    assert embedding_spread(np.ones((1, 3))) == (0, 0)
