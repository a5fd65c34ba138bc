from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation.search.retrieval_task import SAME_CAMERA, RetrievalTask
from metricforge.structures import EmbeddingSet


def _random_set(generator: np.random.Generator, count: int, dim: int = 2) -> EmbeddingSet:
    return EmbeddingSet(
        generator.normal(size=(count, dim)),
        generator.integers(0, 4, count),
        generator.permutation(60)[:count],
        cameras=generator.integers(0, 3, count),
    )


def _by_loop(task: RetrievalTask, shared_ids: bool) -> tuple[list[int], list[list[bool]], list[list[bool]]]:
    """Of each query: its gallery index or -1, and of each image whether it is left out, and whether it is a match."""
    queries, gallery = task.queries, task.gallery
    self_index, left_out, matches = [], [], []
    for q in range(len(queries)):
        same = [shared_ids and queries.ids[q] == gallery.ids[g] for g in range(len(gallery))]
        self_index.append(same.index(True) if True in same else -1)
        of_class = [bool(queries.labels[q] == gallery.labels[g]) for g in range(len(gallery))]
        camera = [bool(queries.cameras[q] == gallery.cameras[g]) for g in range(len(gallery))]
        out = [same[g] or (task.exclude is not None and of_class[g] and camera[g]) for g in range(len(gallery))]
        left_out.append(out)
        matches.append([of_class[g] and not out[g] for g in range(len(gallery))])
    return self_index, left_out, matches


@pytest.mark.parametrize("exclude", [None, SAME_CAMERA])
@pytest.mark.parametrize("kind", ["one set", "two sets", "two sets of one numbering"])
def test_matches_and_what_is_left_out_are_those_of_a_loop_over_all_pairs(exclude, kind):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        queries = _random_set(generator, 25)
        gallery = None if kind == "one set" else _random_set(generator, 31)
        if kind == "two sets of one numbering":  # an image has one class and one camera in both sets
            shared = {int(i): n for n, i in enumerate(queries.ids)}
            for n, image in enumerate(gallery.ids.tolist()):
                if image in shared:
                    gallery.labels[n], gallery.cameras[n] = (
                        queries.labels[shared[image]],
                        queries.cameras[shared[image]],
                    )
        shared_ids = kind == "two sets of one numbering"
        task = RetrievalTask(queries, gallery, shared_ids, exclude)
        self_index, left_out, matches = _by_loop(task, shared_ids or gallery is None)
        assert task.self_index.tolist() == self_index
        assert task.left_out.tolist() == [sum(row) for row in left_out]
        assert task.matches.tolist() == [sum(row) for row in matches]
        assert task.has_match.tolist() == [any(row) for row in matches]
        assert task.queries_without_match == sum(not any(row) for row in matches)
        assert task.gallery_size == len(task.gallery) - max(map(sum, left_out))
        everyone = np.arange(len(queries))
        images = np.tile(np.arange(len(task.gallery)), (len(queries), 1))
        assert task.is_left_out(everyone, images).tolist() == left_out


def test_a_set_alone_is_its_own_gallery():
    images = EmbeddingSet(np.eye(3), np.array([5, 5, 7]), np.array([30, 10, 20]))
    task = RetrievalTask(images)
    assert task.searches_itself
    assert task.gallery is images
    assert task.query_embeddings is None
    assert task.self_index.tolist() == [0, 1, 2]
    assert task.matches.tolist() == [1, 1, 0]
    assert (task.num_classes, task.gallery_size) == (2, 2)


def test_ids_are_compared_only_where_they_name_the_same_images():
    queries = EmbeddingSet(np.eye(2), np.array([0, 0]), np.array([7, 8]))
    gallery = EmbeddingSet(np.eye(2), np.array([0, 0]), np.array([8, 9]))
    assert RetrievalTask(queries, gallery).self_index.tolist() == [-1, -1]
    assert RetrievalTask(queries, gallery).query_embeddings is queries.embeddings
    shared = RetrievalTask(queries, gallery, shared_ids=True)
    assert shared.self_index.tolist() == [-1, 0]
    assert shared.matches.tolist() == [2, 1]


def test_tasks_that_cannot_be_searched_are_refused():
    images = EmbeddingSet(np.eye(2), np.array([0, 1]))
    empty = EmbeddingSet(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="gallery is the query set itself; leave it out"):
        RetrievalTask(images, images)
    with pytest.raises(ValueError, match=r"queries must hold at least one embedding, got shape \(0, 2\)"):
        RetrievalTask(empty)
    with pytest.raises(ValueError, match=r"gallery must hold at least one embedding, got shape \(0, 2\)"):
        RetrievalTask(images, empty)
    with pytest.raises(ValueError, match="gallery has 3 dimensions and queries 2"):
        RetrievalTask(images, EmbeddingSet(np.eye(3), np.arange(3)))
    with pytest.raises(ValueError, match=r"exclude must be .*got 'camera'"):
        RetrievalTask(images, exclude="camera")
    with pytest.raises(ValueError, match="needs to know the cameras of the queries"):
        RetrievalTask(images, exclude=SAME_CAMERA)
