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
from metricforge.evaluators import MAPAtR, NearestClassMean, RecallAtK, ScoresInSpace, Verification
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

CLASSES, IMAGES, DIM = 40, 10, 64
LABELS = np.repeat(np.arange(CLASSES), IMAGES)


def collapsed(spread: float, noise: float = 0.6) -> np.ndarray:
    generator = np.random.default_rng(0)
    spot, centres = generator.normal(size=DIM), generator.normal(size=(CLASSES, DIM))
    return (spot + spread * (centres[LABELS] + noise * generator.normal(size=(len(LABELS), DIM)))).astype(np.float32)


def in_float64(embeddings: np.ndarray, similarity: object) -> np.ndarray:
    rows = embeddings.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if isinstance(similarity, CosineSimilarity) else rows


def retrieval_in_float64(queries, gallery, query_labels, gallery_labels, *, itself):
    """Recall@1 and MAP@R by squared differences, which rank unit vectors as their products do."""
    distances = np.stack([((row - gallery) ** 2).sum(axis=1) for row in queries])
    if itself:
        np.fill_diagonal(distances, np.inf)
    hits = gallery_labels[np.argsort(distances, axis=1, kind="stable")] == query_labels[:, None]
    total = IMAGES - 1 if itself else IMAGES // 2
    top = hits[:, :total]
    precision = np.cumsum(top, axis=1) / np.arange(1, total + 1)
    return hits[:, 0].mean(), (precision * top).sum(axis=1).mean() / total


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1e-2, 3e-4, 1e-4, 1e-5])
@pytest.mark.parametrize("noise", [0.1, 1.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_retrieval_scores_are_those_of_float64(similarity, spread, noise, dtype):
    embeddings = collapsed(spread, noise).astype(dtype)
    rows = in_float64(embeddings, similarity)
    halves = np.arange(len(rows)) % 2 == 0
    for itself in (True, False):
        if itself:
            context = EvaluationContext(EmbeddingSet(embeddings, LABELS), similarity)
            expected = retrieval_in_float64(rows, rows, LABELS, LABELS, itself=True)
        else:
            queries, gallery = (EmbeddingSet(embeddings[part], LABELS[part]) for part in (halves, ~halves))
            context = EvaluationContext(queries, similarity, gallery)
            expected = retrieval_in_float64(rows[halves], rows[~halves], LABELS[halves], LABELS[~halves], itself=False)
        scores = evaluate(context, [RecallAtK([1]), MAPAtR()])
        assert (scores["recall@1"], scores["map@r"]) == pytest.approx(expected, abs=1e-3 if noise > 1 else 1e-12)


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
