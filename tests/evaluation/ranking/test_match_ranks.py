from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from metricforge.evaluation import EvaluationContext
from metricforge.evaluation.ranking import bfloat16_prefilter, bfloat16_sweep
from metricforge.evaluation.ranking import float32_prefilter as float32_prefilter
from metricforge.evaluation.ranking import rank_counter as rank_counter
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks, match_ranks
from metricforge.evaluation.ranking.rank_counter import RankCounter
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

DIMENSIONS = 16
IMAGES = 160


def _random(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(IMAGES, DIMENSIONS))


def _small_whole_numbers(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(1, 4, (IMAGES, DIMENSIONS)).astype(float)  # many images tie without being equal


def _duplicates(generator: np.random.Generator) -> np.ndarray:
    return _random(generator)[generator.integers(0, 25, IMAGES)]


def _closer_than_bfloat16_can_tell(generator: np.random.Generator) -> np.ndarray:
    return _duplicates(generator) + 1e-3 * _random(generator)


def _closer_than_float32_products_can_tell(generator: np.random.Generator) -> np.ndarray:
    return _duplicates(generator) + 3e-7 * _random(generator)


def _nearly_collapsed(generator: np.random.Generator) -> np.ndarray:
    return 1 + 1e-6 * _random(generator)


def _collapsed(generator: np.random.Generator) -> np.ndarray:
    return np.full((IMAGES, DIMENSIONS), 0.3)


def _huge_and_tiny(generator: np.random.Generator) -> np.ndarray:
    return _random(generator) * 10.0 ** generator.uniform(-4, 4, (IMAGES, 1))


SETS = (
    _random,
    _small_whole_numbers,
    _duplicates,
    _closer_than_bfloat16_can_tell,
    _closer_than_float32_products_can_tell,
    _nearly_collapsed,
    _collapsed,
    _huge_and_tiny,
)
LABELS = {
    "many classes": lambda generator: generator.integers(0, 40, IMAGES),
    "two classes": lambda generator: generator.integers(0, 2, IMAGES),
    "one class": lambda generator: np.zeros(IMAGES, dtype=np.int64),
    "one-image classes": lambda generator: np.where(np.arange(IMAGES) < 130, np.arange(IMAGES), 999),
}
DEPTHS = (Depth(first=10), Depth(first=18, up_to_r=True), Depth(every=7), Depth(first=10**6), Depth(every=10**6))


def _experiments(
    embeddings: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> list[Callable[..., EvaluationContext]]:
    """The set searched in itself, and queries searched in a gallery where some of them stand, under their ids."""
    images = EmbeddingSet(embeddings, labels)
    ids = generator.permutation(IMAGES)
    queries = EmbeddingSet(embeddings[:40], labels[:40], ids[:40])
    gallery = EmbeddingSet(embeddings[20:], labels[20:], ids[20:])
    return [
        lambda similarity, **options: EvaluationContext(images, similarity, **options),
        lambda similarity, **options: EvaluationContext(queries, similarity, gallery, shared_ids=True, **options),
    ]


def _brute_force(context: EvaluationContext) -> list[list[int]]:
    """The ranks of the right images of each query by sorting float64 scores, ties by place."""
    similarity = context.similarity
    queries, gallery = (
        similarity.prepare(torch.from_numpy(images.embeddings).double()).double().numpy()
        for images in (context.queries, context.gallery)
    )
    ranks = []
    for query, row in enumerate(queries):
        # of nearly equal unit vectors float64 tells squared distances much better than products, and both rank alike
        scores = -((row - gallery) ** 2).sum(axis=1)
        others = [place for place in range(len(gallery)) if context.gallery.ids[place] != context.queries.ids[query]]
        order = sorted(others, key=lambda place, scores=scores: (-scores[place], place))
        label = context.queries.labels[query]
        ranks.append([rank for rank, place in enumerate(order, start=1) if context.gallery.labels[place] == label])
    return ranks


def _ranks(context: EvaluationContext, depth: Depth, **options) -> list[MatchRanks]:
    return list(match_ranks(context.task, context.similarity, depth, scores_at_once=context.scores_at_once, **options))


def _found(context: EvaluationContext, depth: Depth) -> list[list[int]]:
    blocks = list(_ranks(context, depth))
    assert np.concatenate([block.queries for block in blocks]).tolist() == list(range(len(context.queries)))
    for block in blocks:
        assert [len(block.rank[block.row == row]) for row in range(len(block.queries))] == block.matches.tolist()
    return [block.rank[block.row == row].tolist() for block in blocks for row in range(len(block.queries))]


def _assert_as_deep_as_asked(found: list[list[int]], expected: list[list[int]], depth: Depth) -> None:
    for ranks, right in zip(found, expected, strict=True):
        every = max(depth.every, len(right) if depth.up_to_r else 0)
        wanted = [rank for rank in right if rank <= every] or [rank for rank in right[:1] if rank <= depth.first]
        assert ranks[: len(wanted)] == wanted
        assert all(rank > max(every, depth.first if not wanted else 0) for rank in ranks[len(wanted) :])


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def begins_in_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    build = RankCounter.__init__
    monkeypatch.setattr(
        RankCounter, "__init__", lambda self, *arguments: build(self, *arguments, bfloat16=request.param)
    )
    monkeypatch.setattr(bfloat16_sweep, "STRIP", 16)
    monkeypatch.setattr(bfloat16_sweep, "TILE", 48)
    monkeypatch.setattr(bfloat16_prefilter, "LEAST_SAMPLE", 20)
    monkeypatch.setattr(bfloat16_prefilter, "KEEPING", 1)
    return request.param


CASES = [(make, "many classes") for make in SETS]
CASES += [(make, labels) for make in (_random, _duplicates) for labels in LABELS if labels != "many classes"]


@pytest.mark.parametrize(("make", "labels"), CASES)
def test_ranks_equal_those_of_sorted_float64_scores(make, labels, begins_in_bfloat16):
    generator = np.random.default_rng(0)
    embeddings = make(generator).astype(np.float32)
    for experiment in _experiments(embeddings, LABELS[labels](generator), generator):
        for similarity in (EuclideanSimilarity(), CosineSimilarity(), HammingSimilarity()):
            if make is _small_whole_numbers and isinstance(similarity, CosineSimilarity):
                continue  # what ties on paper does not in float64, and which way depends on the order of a sum
            context = experiment(similarity)
            expected = _brute_force(context)
            for depth in DEPTHS:
                _assert_as_deep_as_asked(_found(context, depth), expected, depth)


def _brute_force_nearest_labels(context: EvaluationContext) -> list[int]:
    labels = []
    similarity = context.similarity
    queries, gallery = (
        similarity.prepare(torch.from_numpy(images.embeddings).double()).double().numpy()
        for images in (context.queries, context.gallery)
    )
    for query, row in enumerate(queries):
        scores = -((row - gallery) ** 2).sum(axis=1)
        scores[context.gallery.ids == context.queries.ids[query]] = -np.inf
        labels.append(int(context.gallery.labels[scores.argmax()]))  # the first of equal ones
    return labels


@pytest.mark.parametrize(("make", "labels"), CASES)
def test_the_nearest_label_comes_from_the_same_pass_and_is_that_of_sorted_float64_scores(
    make, labels, begins_in_bfloat16
):
    generator = np.random.default_rng(0)
    embeddings = make(generator).astype(np.float32)
    for experiment in _experiments(embeddings, LABELS[labels](generator), generator):
        for similarity in (EuclideanSimilarity(), CosineSimilarity(), HammingSimilarity()):
            if make is _small_whole_numbers and isinstance(similarity, CosineSimilarity):
                continue
            context = experiment(similarity)
            expected = _brute_force_nearest_labels(context)
            for depth in (Depth(first=1), *DEPTHS):
                blocks = _ranks(context, depth, nearest=True)
                assert np.concatenate([block.nearest_label for block in blocks]).tolist() == expected
                plain = _ranks(context, depth)
                assert all(block.nearest_label is None for block in plain)
                for block, without in zip(blocks, plain, strict=True):
                    assert (block.rank == without.rank).all()


@pytest.mark.parametrize("make", [_random, _closer_than_bfloat16_can_tell, _duplicates])
def test_the_block_size_changes_no_rank(make, begins_in_bfloat16, monkeypatch):
    generator = np.random.default_rng(1)
    embeddings, labels = make(generator).astype(np.float32), generator.integers(0, 30, IMAGES)
    for similarity in (EuclideanSimilarity(), CosineSimilarity(), HammingSimilarity()):
        images = EmbeddingSet(embeddings, labels)
        for depth in (Depth(first=18, up_to_r=True), Depth(every=10**6)):
            for place in (rank_counter, float32_prefilter):
                monkeypatch.setattr(place, "ELEMENTS_AT_ONCE", 2**22)
            expected = _found(EvaluationContext(images, similarity), depth)
            for place in (rank_counter, float32_prefilter):
                monkeypatch.setattr(place, "ELEMENTS_AT_ONCE", 1000)
            for scores_at_once in (1, 13 * IMAGES):
                context = EvaluationContext(images, similarity, scores_at_once=scores_at_once)
                _assert_as_deep_as_asked(_found(context, depth), expected, depth)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_blocks_side_by_side_change_no_rank(begins_in_bfloat16):
    generator = np.random.default_rng(1)
    embeddings = _closer_than_bfloat16_can_tell(generator).astype(np.float32)
    images = EmbeddingSet(embeddings, generator.integers(0, 30, IMAGES))
    for similarity in (EuclideanSimilarity(), CosineSimilarity(), HammingSimilarity()):
        for depth in (Depth(first=18, up_to_r=True), Depth(every=10**6)):
            context = EvaluationContext(images, similarity, scores_at_once=24 * IMAGES)  # 8 queries a block and thread
            threads = set()

            def ranks_of_block(*arguments, threads=threads, count=RankCounter.count):
                threads.add(threading.get_ident())
                return count(*arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(RankCounter, "count", ranks_of_block)
                found = _found(context, depth)
            assert len(threads) > 1
            assert threading.get_ident() not in threads
            _assert_as_deep_as_asked(found, _brute_force(context), depth)


def test_a_processor_whose_products_break_the_bound_is_noticed_and_changes_no_rank(begins_in_bfloat16, monkeypatch):
    generator = np.random.default_rng(0)
    images = EmbeddingSet(generator.normal(size=(IMAGES, DIMENSIONS)).astype(np.float32), np.arange(IMAGES) % 60)
    context = EvaluationContext(images, CosineSimilarity())
    bfloat16_queries = InnerProductScores.bfloat16_queries

    def wrong(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, error = bfloat16_queries(self, queries)
        return rows * 1.2, error

    monkeypatch.setattr(InnerProductScores, "bfloat16_queries", wrong)
    depth = Depth(first=5, every=3)
    _assert_as_deep_as_asked(_found(context, depth), _brute_force(context), depth)


def test_classes_of_thousands_need_no_table_of_their_ranks(monkeypatch):
    monkeypatch.setattr("metricforge.evaluation.ranking.match_ranks.MATCHES_AT_ONCE", 2 * IMAGES)
    images = EmbeddingSet(np.random.default_rng(0).normal(size=(IMAGES, 4)).astype(np.float32), np.arange(IMAGES) % 2)
    blocks = _ranks(EvaluationContext(images, EuclideanSimilarity()), Depth(up_to_r=True))
    assert max(len(block.rank) for block in blocks) <= 2 * IMAGES


class PlainDistance(Similarity):
    """Minus the sum of absolute differences, which no index knows."""

    def pairwise(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(x, y, p=1)


def test_a_similarity_without_an_index_has_the_ranks_of_its_own_scores():
    generator = np.random.default_rng(0)
    embeddings = generator.integers(0, 3, (IMAGES, 3)).astype(np.float32)
    labels = generator.integers(0, 30, IMAGES)
    context = EvaluationContext(EmbeddingSet(embeddings, labels), PlainDistance())
    expected = []
    for query in range(IMAGES):
        distances = np.abs(embeddings - embeddings[query]).sum(axis=1)
        order = sorted((place for place in range(IMAGES) if place != query), key=lambda p, d=distances: (d[p], p))
        expected.append([rank for rank, place in enumerate(order, start=1) if labels[place] == labels[query]])
    for depth in DEPTHS:
        _assert_as_deep_as_asked(_found(context, depth), expected, depth)


@pytest.mark.parametrize(
    ("images", "dimensions", "ranks", "pays"),
    [(60_502, 512, 5, True), (1_000_000, 128, 50, True), (5_924, 512, 59, False), (2_000, 2048, 5, False)],
)
def test_bfloat16_is_for_large_galleries_of_which_little_matters(images, dimensions, ranks, pays):
    assert bfloat16_prefilter.bfloat16_pays((images, dimensions), torch.full((10,), ranks)) is pays


def test_near_ranks_need_no_whole_rows_not_even_of_queries_without_a_right_image(begins_in_bfloat16, monkeypatch):
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(IMAGES, DIMENSIONS)).astype(np.float32)
    monkeypatch.setattr(InnerProductScores, "double", None)
    for labels in (LABELS["many classes"](generator), LABELS["one-image classes"](generator)):
        for similarity in (EuclideanSimilarity(), CosineSimilarity()):
            context = EvaluationContext(EmbeddingSet(embeddings, labels), similarity)
            for depth in (Depth(first=3), Depth(every=3)):
                _assert_as_deep_as_asked(_found(context, depth), _brute_force(context), depth)


def test_progress_is_told_of_every_query_once(begins_in_bfloat16):
    generator = np.random.default_rng(0)
    images = EmbeddingSet(
        generator.normal(size=(IMAGES, DIMENSIONS)).astype(np.float32), generator.integers(0, 40, IMAGES)
    )
    for similarity in (EuclideanSimilarity(), HammingSimilarity()):
        for depth in (Depth(first=3), Depth(every=10**6)):
            told: list[int] = []
            _ranks(EvaluationContext(images, similarity), depth, on_queries=told.append)
            assert sum(told) == IMAGES
