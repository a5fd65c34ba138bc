from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.evaluation.ranking.rank_counter import BEYOND, RankCounter
from metricforge.evaluation.search.retrieval_task import RetrievalTask
from metricforge.interfaces import Similarity
from metricforge.similarities import EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

COUNT, DIM = 120, 8


class CityBlock(Similarity):
    """A similarity that no index knows."""

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None] - y[None]).abs().sum(dim=2)


def _distances(similarity: Similarity, query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    if isinstance(similarity, HammingSimilarity):
        return ((gallery > 0) != (query > 0)).sum(axis=1)
    return (abs(gallery - query) if isinstance(similarity, CityBlock) else (gallery - query) ** 2).sum(axis=1)


def _by_loop(task: RetrievalTask, similarity: Similarity, query: int) -> tuple[dict[int, tuple[int, int]], int]:
    """The rank of each match and how many non-matches are above it, by its index; the label of the nearest image."""
    distance = _distances(similarity, task.queries.embeddings[query], task.gallery.embeddings)
    others = [image for image in range(len(task.gallery)) if image != task.self_index[query]]
    ranking = sorted(others, key=lambda image: (distance[image], image))
    is_match = [task.gallery.labels[image] == task.queries.labels[query] for image in ranking]
    above = {image: (nth + 1, is_match[:nth].count(False)) for nth, image in enumerate(ranking) if is_match[nth]}
    return above, int(task.gallery.labels[ranking[0]])


def _tasks() -> list[RetrievalTask]:
    generator = np.random.default_rng(0)
    embeddings = generator.integers(-2, 3, (COUNT, DIM)).astype(np.float64)  # ties, and sums that float64 holds exactly
    embeddings[80:] = embeddings[:40]  # duplicates, of the same and of other classes
    labels = generator.integers(0, 20, COUNT)
    queries = EmbeddingSet(embeddings[:50], generator.integers(0, 22, 50), np.arange(50))  # some under another label
    gallery = EmbeddingSet(embeddings[20:], labels[20:], np.arange(20, COUNT))
    return [RetrievalTask(EmbeddingSet(embeddings, labels)), RetrievalTask(queries, gallery, shared_ids=True)]


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), HammingSimilarity(), CityBlock()])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(("first", "every"), [(5, 0), (1, 7), (0, COUNT), (COUNT, 0)])
def test_non_matches_above_are_counted_as_by_a_loop_as_deep_as_asked(similarity, bfloat16, first, every):
    for task in _tasks():
        depths = np.full(len(task.queries), every)
        counter = RankCounter(task, similarity, torch.device("cpu"), first, depths, nearest=True, bfloat16=bfloat16)
        blocks = [(start, min(start + 32, len(task.queries))) for start in range(0, len(task.queries), 32)]
        seen = []
        for some, _ in counter.look_ahead(blocks, 1, lambda count: None):
            for start, stop in some:
                counts = counter.count(torch.arange(start, stop))
                seen += range(start, stop)
                for row, query in enumerate(range(start, stop)):
                    above, nearest_label = _by_loop(task, similarity, query)
                    its = counts.matches.row == row
                    found = dict(zip(counts.matches.image[its].tolist(), counts.above[its].tolist(), strict=True))
                    assert found.keys() == above.keys()
                    assert int(counts.nearest_label[row]) == nearest_label
                    nearest_rank = min((rank for rank, _ in above.values()), default=0)
                    for image, (rank, count) in above.items():
                        if rank <= every or (rank == nearest_rank and rank <= first):
                            assert found[image] == count
                        else:
                            assert found[image] in (count, BEYOND)
        assert seen == list(range(len(task.queries)))


def test_the_nearest_label_is_told_only_where_it_is_asked_for():
    task = _tasks()[0]
    counter = RankCounter(task, EuclideanSimilarity(), torch.device("cpu"), 1, np.zeros(COUNT, dtype=np.int64))
    assert counter.count(torch.arange(8)).nearest_label is None


def test_a_similarity_that_only_pairwise_tells_is_not_shared_by_threads():
    every = np.zeros(COUNT, dtype=np.int64)
    shared = {
        type(similarity): RankCounter(_tasks()[0], similarity, torch.device("cpu"), 1, every).is_shared_by_threads
        for similarity in (EuclideanSimilarity(), HammingSimilarity(), CityBlock())
    }
    assert shared == {EuclideanSimilarity: True, HammingSimilarity: True, CityBlock: False}
