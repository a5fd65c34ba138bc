from base64 import b64decode

import numpy as np
import pytest

from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.embedding_map import (
    NO_QUERY,
    RIGHT,
    WRONG,
    lay_out,
    map_json,
    map_points,
    nearest_rows,
    rows_of,
    with_training,
)
from metricforge.run_report.retrieval import retrieve
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def _numbers(text: str, kind: str) -> list[int]:
    return np.frombuffer(b64decode(text), kind).tolist()


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """Two groups far from each other, in six dimensions."""
    rows = np.random.default_rng(0).normal(size=(40, 6))
    rows[20:] += 40
    return rows.astype(np.float32), np.repeat([0, 1], 20)


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_layout_keeps_neighbours_together_and_is_the_same_each_time(method):
    rows, labels = _blobs()
    positions = lay_out(rows, method, seed=0)
    assert np.array_equal(positions, lay_out(rows, method, seed=0))
    distances = np.linalg.norm(positions[:, None] - positions, axis=2) + np.where(np.eye(40), np.inf, 0)
    assert (labels[distances.argmin(axis=1)] == labels).all()


def test_the_neighbours_that_umap_is_given_are_the_exact_ones_with_the_image_itself_first():
    rows = np.array([[0, 0], [3, 4], [3, 4], [0, 1]], dtype=np.float32)  # two of them are the same
    found, distances = nearest_rows(rows, 3)
    assert found.tolist() == [[0, 3, 1], [1, 2, 3], [2, 1, 3], [3, 0, 1]]
    assert distances == pytest.approx(np.array([[0, 1, 5], [0, 0, 18**0.5], [0, 0, 18**0.5], [0, 1, 18**0.5]]))


def test_what_is_searched_on_the_map_are_ids_and_outcomes():
    embeddings = np.array([[0.0], [1.0], [1.4], [9.0]], dtype=np.float32)
    images = EmbeddingSet(embeddings, np.array([0, 0, 1, 2]), ids=np.array([70, 71, 72, 73]))
    context = EvaluationContext(images, EuclideanSimilarity())
    retrieval = retrieve(context, 2)
    points = map_points(context, retrieval)
    packed = map_json(context, points, {"tsne": np.array([[0, 0], [1, 5], [2, 0], [4, 10]], np.float32)}, retrieval)
    assert _numbers(packed["ids"], "<u4") == [70, 71, 72, 73]
    assert _numbers(packed["found"], "<u4") == [71, 72, 72, 70, 71, 70, 72, 71]  # by hand
    assert _numbers(packed["match"], "u1") == [1, 0, 0, 1, 0, 0, 0, 0]
    assert _numbers(packed["outcome"], "u1") == [RIGHT, WRONG, NO_QUERY, NO_QUERY]
    assert _numbers(packed["layouts"]["t-SNE"], "<u2") == [0, 0, 16384, 32768, 32768, 0, 65535, 65535]
    low, high = packed["distances"]["low"], packed["distances"]["high"]
    steps = np.array(_numbers(packed["distances"]["steps"], "<u2")) / 65535
    assert low + (high - low) * steps == pytest.approx([1, 1.4, 0.4, 1, 0.4, 1.4, 7.6, 8], abs=1e-3)


def test_training_images_stand_behind_the_test_s_with_ids_of_their_own_and_find_nothing():
    embeddings = np.array([[0.0], [1.0], [1.4], [9.0]], dtype=np.float32)
    context = EvaluationContext(EmbeddingSet(embeddings, np.array([0, 0, 1, 1])), EuclideanSimilarity())
    retrieval = retrieve(context, 2)
    training = EmbeddingSet(np.array([[5.0], [6.0]], dtype=np.float32), np.array([0, 1]))
    points = with_training(map_points(context, retrieval), images=4, labels=np.array([2, 0]))
    assert rows_of(context, points, training).ravel().tolist() == pytest.approx([0, 1, 1.4, 9, 5, 6])
    packed = map_json(context, points, {"tsne": np.zeros((6, 2), np.float32)}, retrieval)
    assert (packed["queries"], packed["training"]) == (4, 2)
    assert _numbers(packed["ids"], "<u4") == [0, 1, 2, 3, 4, 5]
    assert _numbers(packed["labels"], "<u4") == [0, 0, 1, 1, 2, 0]
    assert _numbers(packed["outcome"], "u1")[4:] == [NO_QUERY, NO_QUERY]
    assert len(_numbers(packed["found"], "<u4")) == 4 * 2, "of the test's alone"


def test_gallery_images_stand_behind_the_queries_and_an_image_of_both_once():
    embeddings = np.eye(4, dtype=np.float32)
    queries = EmbeddingSet(embeddings[:2] * 3, np.array([0, 1]), ids=np.array([5, 6]))
    gallery = EmbeddingSet(embeddings, np.array([1, 0, 0, 1]), ids=np.array([6, 7, 8, 9]))
    context = EvaluationContext(queries, CosineSimilarity(), gallery, shared_ids=True)
    points = map_points(context, retrieve(context, 2))
    assert points.ids.tolist() == [5, 6, 7, 8, 9]
    assert points.queries == 2
    assert points.outcome[2:].tolist() == [NO_QUERY] * 3
    assert np.allclose(np.linalg.norm(rows_of(context, points), axis=1), 1)
