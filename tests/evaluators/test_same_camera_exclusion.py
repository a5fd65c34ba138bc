"""Re-identification's rule: images of the query's label and camera are as if they were not in the gallery."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.errors import EmbeddingsError
from metricforge.evaluation import EvaluationContext, collect_query_scores, describe_protocol, evaluate, run_evaluation
from metricforge.evaluators import (
    CMC,
    MRR,
    MAPAtR,
    MeanAveragePrecision,
    PrecisionAtK,
    RecallAtK,
    RPrecision,
    ScoresBySimilarity,
    SingleShotCMC,
)
from metricforge.interfaces import Similarity
from metricforge.measurement import TaggedEmbeddings, evaluate_embeddings, read_embedding_file
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet

RULE = "same label and same camera"


class Learned(Similarity):
    """Euclidean, but only by its scores, as a metric head gives them."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def pairwise(self, first, second):
        return -self.scale * torch.cdist(first.double(), second.double()).square().to(first.dtype)


def images(count: int, seed: int, classes: int = 12, cameras: int = 4, first_id: int = 0) -> EmbeddingSet:
    """Coarse coordinates, so that many distances are equal, and classes of unlike sizes."""
    generator = np.random.default_rng(seed)
    labels = np.minimum(generator.integers(0, classes, count), generator.integers(0, classes, count))
    centres = np.random.default_rng(99).integers(-3, 4, (classes, 6))
    embeddings = (centres[labels] + generator.integers(-2, 3, (count, 6))).astype(np.float32)
    return EmbeddingSet(embeddings, labels, first_id + np.arange(count), None, generator.integers(0, cameras, count))


def market_1501(queries: EmbeddingSet, gallery: EmbeddingSet, ks, same_set: bool) -> dict[str, float]:
    """The evaluation of Market-1501, one query at a time, by its definition, in float64."""
    found: dict[str, list[float]] = {}
    for q in range(len(queries)):
        distances = ((gallery.embeddings.astype(float) - queries.embeddings[q]) ** 2).sum(axis=1)
        order = np.argsort(distances, kind="stable")
        removed = (gallery.labels[order] == queries.labels[q]) & (gallery.cameras[order] == queries.cameras[q])
        if same_set:
            removed |= order == q
        good = (gallery.labels[order] == queries.labels[q])[~removed]
        if not good.any():
            continue
        cmc = good.cumsum() > 0
        precision = good.cumsum() / (np.arange(len(good)) + 1)
        r = int(good.sum())
        values = {f"cmc@{k}": cmc[k - 1] for k in ks} | {f"recall@{k}": cmc[k - 1] for k in ks}
        values |= {f"precision@{k}": good[:k].mean() for k in ks}
        values["map"] = precision[good].mean()
        values["mrr"] = 1 / (good.argmax() + 1)
        values["r_precision"] = good[:r].mean()
        values["map@r"] = (precision[:r] * good[:r]).sum() / r
        for name, value in values.items():
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(column)) for name, column in found.items()}


KS = (1, 2, 5, 10)
EVALUATORS = (CMC(KS), RecallAtK(KS), PrecisionAtK(KS), MeanAveragePrecision(), MRR(), RPrecision(), MAPAtR())


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), Learned()], ids=["euclidean", "learned"])
@pytest.mark.parametrize("same_set", [False, True], ids=["query and gallery", "one set"])
@pytest.mark.parametrize("seed", range(4))
def test_every_retrieval_score_is_that_of_market_1501(similarity, same_set, seed):
    queries = images(60, seed)
    gallery = queries if same_set else images(150, seed + 100, first_id=1000)
    context = EvaluationContext(queries, similarity, None if same_set else gallery, shared_ids=True, exclude=RULE)
    scores = evaluate(context, EVALUATORS)
    assert scores == pytest.approx(market_1501(queries, gallery, KS, same_set), abs=1e-12)
    alone = {name: value for one in EVALUATORS for name, value in evaluate(context, [one]).items()}
    assert alone == scores, "whatever is computed with it"


def test_neighbours_hold_none_of_the_images_that_are_left_out():
    queries, gallery = images(60, 0), images(150, 1, first_id=1000)
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, exclude=RULE)
    neighbours = context.neighbours(context.gallery_size)
    same = gallery.labels[neighbours] == queries.labels[:, None]
    assert not (same & (gallery.cameras[neighbours] == queries.cameras[:, None])).any()
    assert context.gallery_size == 150 - max(
        ((gallery.labels == queries.labels[q]) & (gallery.cameras == queries.cameras[q])).sum() for q in range(60)
    )
    with pytest.raises(ValueError, match=r"ks of RecallAtK must be at most \d+"):
        evaluate(context, [RecallAtK(ks=(149,))])


def test_the_nearest_label_of_a_query_is_not_that_of_an_image_that_is_left_out():
    queries, gallery = images(60, 0), images(150, 1, first_id=1000)
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, exclude=RULE)
    found = collect_query_scores(run_evaluation(context, [MeanAveragePrecision()], nearest=True), nearest=True)
    (labels,) = found.nearest.values()
    assert labels.tolist() == gallery.labels[context.neighbours(1)[:, 0]].tolist()
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery)
    assert labels.tolist() != gallery.labels[context.neighbours(1)[:, 0]].tolist()


def test_evaluators_around_others_keep_the_rule():
    queries, gallery = images(60, 0), images(150, 1, first_id=1000)
    context = EvaluationContext(queries, CosineSimilarity(), gallery, exclude=RULE)
    inner = ScoresBySimilarity("euclidean", EuclideanSimilarity(), [RecallAtK(KS), MeanAveragePrecision()])
    scores = evaluate(context, [inner])
    wanted = market_1501(queries, gallery, KS, same_set=False)
    assert scores["euclidean/recall@1"] == pytest.approx(wanted["recall@1"], abs=1e-12)
    assert scores["euclidean/map"] == pytest.approx(wanted["map"], abs=1e-12)


def test_without_a_second_camera_a_query_has_no_match():
    same = EmbeddingSet(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 1]), None, None, np.array([0, 0, 0, 1]))
    context = EvaluationContext(same, EuclideanSimilarity(), exclude=RULE)
    assert context.task.matches.tolist() == [0, 0, 1, 1]
    assert context.task.queries_without_match == 2
    assert context.task.left_out.tolist() == [2, 2, 1, 1]


def test_the_protocol_says_the_rule_and_how_many_images_it_leaves_out():
    queries, gallery = images(60, 0), images(150, 1, first_id=1000)
    for exclude in (None, RULE):
        context = EvaluationContext(queries, EuclideanSimilarity(), gallery, exclude=exclude)
        protocol = describe_protocol(run_evaluation(context, [RecallAtK()]))
        assert protocol.get("exclude") == exclude
    left_out = [
        ((gallery.labels == queries.labels[q]) & (gallery.cameras == queries.cameras[q])).sum() for q in range(60)
    ]
    assert protocol["images_left_out_per_query"] == pytest.approx(np.mean(left_out), rel=1e-3)


def test_another_rule_and_unknown_cameras_are_refused():
    queries = images(20, 0)
    with pytest.raises(ValueError, match="exclude must be \"same label and same camera\" or None, got 'camera'"):
        EvaluationContext(queries, EuclideanSimilarity(), exclude="camera")
    unknown = EmbeddingSet(queries.embeddings, queries.labels)
    with pytest.raises(ValueError, match="needs to know the cameras of the queries; give the column camera"):
        EvaluationContext(unknown, EuclideanSimilarity(), exclude=RULE)
    with pytest.raises(ValueError, match=r"cameras must be one for each of the 20 embeddings, got \(3,\)"):
        EmbeddingSet(queries.embeddings, queries.labels, None, None, np.zeros(3, dtype=np.int64))


@pytest.mark.parametrize("exclude", [None, RULE])
def test_single_shot_cmc_is_the_mean_over_all_galleries_of_one_image_a_class(exclude):
    """Every gallery of a small case is drawn once, by hand; random draws come near their mean."""
    queries, gallery = images(12, 3, classes=3, cameras=3), images(9, 4, classes=3, cameras=3, first_id=100)
    by_class = [np.flatnonzero(gallery.labels == c) for c in np.unique(gallery.labels)]
    expected: dict[int, list[float]] = {1: [], 2: []}
    for q in range(len(queries)):
        distances = ((gallery.embeddings.astype(np.float64) - queries.embeddings[q]) ** 2).sum(axis=1)
        place = np.argsort(np.argsort(distances, kind="stable"))
        good = gallery.labels == queries.labels[q]
        if exclude:
            good &= gallery.cameras != queries.cameras[q]
        if not good.any():
            continue
        ranks = []
        for match in np.flatnonzero(good):
            others = [images for images in by_class if gallery.labels[images[0]] != queries.labels[q]]
            for drawn in np.array(np.meshgrid(*others)).reshape(len(others), -1).T:
                ranks.append(1 + (place[drawn] < place[match]).sum())
        for k, values in expected.items():
            values.append(np.mean(np.array(ranks) <= k))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, exclude=exclude)
    scores = evaluate(context, [SingleShotCMC(ks=(1, 2), trials=20_000)])
    assert scores["cmc_single@1"] == pytest.approx(np.mean(expected[1]), abs=0.01)
    assert scores["cmc_single@2"] == pytest.approx(np.mean(expected[2]), abs=0.01)
    again = evaluate(context, [SingleShotCMC(ks=(1, 2), trials=20_000)])
    assert again == scores, "draws follow from the seed"


def test_single_shot_cmc_refuses_what_it_cannot_rank():
    context = EvaluationContext(images(20, 0), EuclideanSimilarity())
    with pytest.raises(ValueError, match="ks of SingleShotCMC must be at most"):
        evaluate(context, [SingleShotCMC(ks=(50,))])
    with pytest.raises(ValueError, match="trials"):
        SingleShotCMC(trials=0)


def test_embeddings_of_files_are_scored_by_the_rule_with_their_cameras(tmp_path):
    queries, gallery = images(60, 0), images(150, 1, first_id=1000)
    files = []
    for name, one in (("queries", queries), ("gallery", gallery)):
        files.append(tmp_path / f"{name}.npz")
        cameras = np.array([f"camera {camera}" for camera in one.cameras])
        np.savez(files[-1], embeddings=one.embeddings, labels=one.labels, cameras=cameras)
    sets = [read_embedding_file(file) for file in files]
    found = evaluate_embeddings(
        sets[0], gallery=sets[1], scores=["recall@1", "map"], similarity="euclidean", exclude=RULE
    )
    wanted = market_1501(queries, gallery, KS, same_set=False)
    assert found.scores == pytest.approx({name: wanted[name] for name in ("recall@1", "map")}, abs=1e-12)
    assert found.protocol["exclude"] == RULE
    without = [TaggedEmbeddings(one.embeddings, one.labels) for one in sets]
    with pytest.raises(EmbeddingsError, match="needs to know the cameras of the queries"):
        evaluate_embeddings(without[0], gallery=without[1], exclude=RULE)
    with pytest.raises(EmbeddingsError, match=r"2 of 4 labels are empty \(the first rows: 2, 4\)"):
        TaggedEmbeddings(np.eye(4), np.array(["a", "", "b", "  "]))
