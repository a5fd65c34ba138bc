from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.errors import ConfigError
from metricforge.evaluation import EvaluationContext, describe_protocol, evaluate, run_evaluation
from metricforge.evaluators import (
    MRR,
    MAPAtR,
    MeanAveragePrecision,
    PrecisionAtK,
    RecallAtK,
    ReRanked,
    RPrecision,
    Verification,
)
from metricforge.evaluators.reranked_context import reranked_context
from metricforge.interfaces import Similarity
from metricforge.registry import EVALUATORS
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


class FirstNumber(Similarity):
    """Alike are images whose first number is: the second one, which distance sees too, means nothing."""

    symmetric = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None, 0] - y[None, :, 0]).abs()


def euclidean(evaluators=None, **arguments):
    return ReRanked(EuclideanSimilarity(), evaluators or [RecallAtK((1, 2))], **arguments)


@pytest.fixture
def images() -> EmbeddingSet:
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(60, 4)).astype(np.float32)
    embeddings[30:40] = embeddings[:10]  # duplicates
    return EmbeddingSet(embeddings, generator.integers(0, 5, 60), ids=generator.permutation(60) + 100)


def test_the_contract_holds():
    check_evaluator(euclidean([RecallAtK(), MAPAtR()]))


def test_a_hand_worked_shortlist_is_put_into_order_and_its_agreement_counted():
    # Distance sees both numbers, the score the first alone.
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 2.0], [0.1, 9.0]], dtype=np.float32)
    context = EvaluationContext(EmbeddingSet(points, np.array([0, 0, 1, 1])), FirstNumber())
    # By distance: 0: 1 2 3; 1: 0 2 3; 2: 0 1 3 (0 and 1 are equally far); 3: 2 0 1 (1 and 0: 81.01, 81.81).
    # Shortlists of 2 by score: 0: {1, 2} -> 2 1; 1: {0, 2} -> 2 0; 2: {0, 1} -> 0 1 (0.5 each); 3: {2, 0} -> 0 2.
    found = reranked_context(context.by(EuclideanSimilarity()), context, 2).neighbours(3)
    assert found.tolist() == [[2, 1, 3], [2, 0, 3], [0, 1, 3], [0, 2, 1]]
    # Exact by score: 0: 3 2 1; 1: 2 3 0 (0.5, 0.9, 1); 2: 3 0 1 (0.4, 0.5, 0.5); 3: 0 2 1.
    scores = evaluate(context, [euclidean([RecallAtK((1,))], shortlist=2, agreement=[1, 2])])
    assert scores["reranked/agreement@1"] == pytest.approx(2 / 4)  # of 1 and 3
    assert scores["reranked/agreement@2"] == pytest.approx((1 + 1 + 1 + 2) / 8)
    assert scores["reranked/recall@1"] == 0.0  # 0 -> 2, 1 -> 2, 2 -> 0, 3 -> 0: each of the other class


@pytest.mark.parametrize("with_gallery", [False, True])
@pytest.mark.parametrize("shortlist", [60, 10**6])
def test_a_shortlist_of_the_whole_gallery_is_the_exact_search(images, with_gallery, shortlist):
    gallery = EmbeddingSet(images.embeddings[::-1] + 0.1, images.labels[::-1].copy()) if with_gallery else None
    context = EvaluationContext(images, FirstNumber(), gallery)
    reranked = reranked_context(context.by(EuclideanSimilarity()), context, shortlist)
    k = context.gallery_size
    assert (reranked.neighbours(k) == context.neighbours(k)).all()
    scores = evaluate(context, [RecallAtK((1, 2)), MAPAtR(), euclidean([RecallAtK((1, 2)), MAPAtR()], shortlist=k)])
    for name in ("recall@1", "recall@2", "map@r"):
        assert scores[f"reranked/{name}"] == scores[name]
    assert scores["reranked/agreement@1"] == scores["reranked/agreement@10"] == 1.0


@pytest.mark.parametrize("shortlist", [1, 7, 30])
def test_a_shortlist_holds_the_nearest_by_distance_in_the_order_of_a_brute_force_sort(images, brute_force, shortlist):
    context = EvaluationContext(images, FirstNumber())
    found = reranked_context(context.by(EuclideanSimilarity()), context, shortlist).neighbours(40)
    numbers = images.embeddings[:, 0].astype(np.float64)
    rankings = brute_force("euclidean", images.embeddings, images.embeddings, True)
    for query, (row, ranking) in enumerate(zip(found, rankings, strict=True)):
        listed = sorted(ranking[:shortlist], key=lambda g, query=query: (abs(numbers[query] - numbers[g]), g))
        assert row.tolist() == listed + ranking[shortlist:40]


def test_the_size_of_a_step_changes_nothing(images, monkeypatch):
    from metricforge.evaluators import reranked_context

    expected = evaluate(EvaluationContext(images, FirstNumber()), [euclidean(shortlist=9)])
    monkeypatch.setattr(reranked_context, "NUMBERS_AT_ONCE", 1)
    assert evaluate(EvaluationContext(images, FirstNumber()), [euclidean(shortlist=9)]) == expected


def test_without_agreement_the_learned_similarity_is_asked_for_the_shortlists_alone(images):
    asked = []

    class Counting(FirstNumber):
        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            asked.append(len(x) * len(y))
            return super().pairwise(x, y)

    evaluate(EvaluationContext(images, Counting()), [euclidean(shortlist=9, agreement=[])])
    assert sum(asked) == 60 * 9


def test_the_values_of_queries_average_to_the_scores_and_cost_no_second_search(images, monkeypatch):
    from metricforge.evaluation import context as searching

    context = EvaluationContext(images, FirstNumber())
    reranked = euclidean([RecallAtK((1, 2)), MAPAtR()], shortlist=9)
    scores = evaluate(context, [reranked])
    monkeypatch.setattr(searching, "exact_knn", None)
    monkeypatch.setattr(FirstNumber, "score_lists", None)
    values = reranked.per_query(context)
    assert values.keys() == scores.keys()
    counted = reranked.counted_queries(context)
    assert list(counted) == ["reranked/agreement@1", "reranked/agreement@10"]  # of all queries
    for name, column in values.items():
        mask = counted.get(name, context.matches > 0)
        assert column[mask].mean() == pytest.approx(scores[name])
        assert name not in counted or mask.all()


def test_what_its_evaluators_count_is_in_the_protocol(images):
    context = EvaluationContext(images, FirstNumber())
    inner = Verification(pairs=5)
    described = describe_protocol(run_evaluation(context, [euclidean([inner], agreement=[])]))["evaluators"][0]
    assert described["counts"] == {f"Verification/{name}": count for name, count in inner.counts(context).items()}


def test_agreement_alone_needs_no_evaluator(images):
    reranked = ReRanked(EuclideanSimilarity(), [], shortlist=9, agreement=[3])
    assert list(evaluate(EvaluationContext(images, FirstNumber()), [reranked])) == ["reranked/agreement@3"]


def test_bars_show_both_searches_and_the_reordering_of_every_query(images):
    shown: dict[str, list[int]] = {}

    @contextmanager
    def progress(task, total):
        shown[task] = [total, 0]

        def advance(count):
            shown[task][1] += count

        yield advance

    evaluate(EvaluationContext(images, FirstNumber(), progress=progress), [euclidean(shortlist=9)])
    assert shown == {
        "searching by FirstNumber": [60, 60],
        "searching by EuclideanSimilarity": [60, 60],
        "re-ranking by FirstNumber": [60, 60],
    }


def test_a_similarity_that_gives_nan_is_an_error_that_names_it(images):
    class Diverged(FirstNumber):
        def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
            return torch.full(lists.shape[:2], torch.nan)

    with pytest.raises(ValueError, match=r"Diverged\.score_lists gave \d+ scores that are not finite"):
        evaluate(EvaluationContext(images, Diverged()), [euclidean(agreement=[])])


def test_the_protocol_says_how_the_shortlist_was_found(images):
    protocol = describe_protocol(run_evaluation(EvaluationContext(images, FirstNumber()), [euclidean(shortlist=9)]))
    assert json.loads(json.dumps(protocol))["evaluators"] == [
        {
            "type": "ReRanked",
            "scores": ["reranked/recall@1", "reranked/recall@2", "reranked/agreement@1", "reranked/agreement@10"],
            "name": "reranked",
            "shortlist": 9,
            "shortlist_similarity": "EuclideanSimilarity",
            "agreement": [1, 10],
            "evaluators": [{"type": "RecallAtK", "scores": ["recall@1", "recall@2"], "ks": [1, 2]}],
        }
    ]


def test_a_config_builds_it_with_all_its_parts_and_a_fault_inside_has_the_whole_path():
    config = dict(type="ReRanked", similarity=dict(type="CosineSimilarity"), evaluators=[dict(type="RecallAtK")])
    built = EVALUATORS.build(config)
    assert type(built.similarity) is CosineSimilarity
    config["evaluators"] = [dict(type="RecalAtK")]
    with pytest.raises(ConfigError, match=r'evaluators\[1\]\.evaluators\[0\]\.type: "RecalAtK"'):
        EVALUATORS.build(config, path="evaluators[1]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(similarity="cosine"), "similarity must be one, such as .* got str"),
        (dict(evaluators=[], agreement=[]), "evaluators must hold at least one evaluator"),
        (dict(evaluators="RecallAtK"), "evaluators must be a list of them"),
        (dict(shortlist=0), "shortlist must be an integer >= 1, got 0"),
        (dict(agreement=[0]), r"agreement must hold integers >= 1.*got \[0\]"),
        (dict(name=" "), "name must say"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReRanked(**dict(similarity=EuclideanSimilarity(), evaluators=[RecallAtK()]) | arguments)


def test_a_k_of_the_whole_gallery_reads_what_is_behind_the_shortlist(images):
    context = EvaluationContext(images, FirstNumber())
    one_class = EvaluationContext(EmbeddingSet(images.embeddings, np.zeros(60, dtype=np.int64)), FirstNumber())
    found = evaluate(context, [euclidean([RecallAtK((59,)), PrecisionAtK((59,))], shortlist=5, agreement=[59])])
    answerable = context.matches > 0
    assert found["reranked/recall@59"] == found["reranked/agreement@59"] == 1.0
    assert found["reranked/precision@59"] == pytest.approx(context.matches[answerable].mean() / 59)
    scores = evaluate(one_class, [euclidean([MAPAtR(), RPrecision()], shortlist=5, agreement=[])])
    assert scores == {"reranked/map@r": 1.0, "reranked/r_precision": 1.0}  # R is the whole gallery


def test_scores_of_whole_rankings_want_a_shortlist_of_the_whole_gallery(images):
    context = EvaluationContext(images, FirstNumber())
    both = [MeanAveragePrecision(), MRR()]
    with pytest.raises(ValueError, match=r"MeanAveragePrecision and MRR read .* all 59 .* a shortlist of 58"):
        evaluate(context, [euclidean(both, shortlist=58, agreement=[])])
    assert evaluate(context, [euclidean(both, shortlist=59, agreement=[])]) == {
        f"reranked/{name}": value for name, value in evaluate(context, both).items()
    }


@pytest.mark.parametrize("reranked", [euclidean([RecallAtK((60,))]), euclidean(agreement=[60])])
def test_a_k_beyond_the_gallery_is_refused_before_anything_is_searched(images, reranked, monkeypatch):
    from metricforge.evaluation import context

    monkeypatch.setattr(context, "exact_knn", None)
    with pytest.raises(ValueError, match="must be at most 59"):
        evaluate(EvaluationContext(images, FirstNumber()), [reranked])


def test_a_context_that_may_hold_no_score_is_refused(images):
    with pytest.raises(ValueError, match="scores_at_once must be at least 1, got 0"):
        EvaluationContext(images, FirstNumber(), scores_at_once=0)


def test_a_query_that_stands_in_the_gallery_too_is_no_candidate_of_its_own():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.4, 2.0]], dtype=np.float32)
    queries = EmbeddingSet(points[:1], np.array([0]), ids=np.array([7]))
    gallery = EmbeddingSet(points, np.array([0, 0, 1]), ids=np.array([7, 8, 9]))
    context = EvaluationContext(queries, FirstNumber(), gallery, shared_ids=True)
    reranked = reranked_context(context.by(EuclideanSimilarity()), context, 3)
    assert reranked.neighbours(2).tolist() == context.neighbours(2).tolist() == [[2, 1]]
