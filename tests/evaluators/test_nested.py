from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext, run_evaluation
from metricforge.evaluators import MAPAtR, RecallAtK, ZeroShot
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import Evaluator
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


class ByDirection(NestedEvaluator):
    def ranking(self, context):
        return context.related("by direction", lambda: context.replaced(similarity=CosineSimilarity()))


class Counted(Evaluator):
    def evaluate(self, context):
        return {"images": float(context.gallery_size)}

    def counts(self, context):
        return {"similarity_is_cosine": int(isinstance(context.similarity, CosineSimilarity))}


@pytest.fixture
def images() -> EmbeddingSet:
    generator = np.random.default_rng(0)
    return EmbeddingSet(generator.normal(size=(40, 4)) + 1, generator.integers(0, 6, 40))


def test_scores_and_values_are_those_of_the_other_ranking_led_by_the_name(images):
    inner = [RecallAtK((1, 3)), MAPAtR(), Counted()]
    context = EvaluationContext(images, EuclideanSimilarity())
    alone = run_evaluation(EvaluationContext(images, CosineSimilarity()), inner)
    found = run_evaluation(context, [RecallAtK((1,)), ByDirection("cosine", inner)])
    expected = {f"cosine/{name}": value for name, value in alone.scores.items()}
    assert {name: value for name, value in found.scores.items() if "/" in name} == expected
    assert ByDirection("cosine", inner).evaluate(context) == expected
    for values in (found.per_query(), ByDirection("cosine", inner).per_query(context)):
        for name, column in alone.per_query().items():
            assert np.array_equal(values[f"cosine/{name}"], column)


def test_names_lead_to_each_other_however_deep(images):
    deep = ByDirection("a", [ByDirection("b", [RecallAtK((1,))])])
    found = run_evaluation(EvaluationContext(images, EuclideanSimilarity()), [deep])
    assert list(found.scores) == ["a/b/recall@1"]
    assert list(found.per_query()) == ["a/b/recall@1"]


def test_counts_and_protocol_are_those_of_the_evaluators_inside_on_their_ranking(images):
    nested = ByDirection("cosine", [Counted(), RecallAtK((2,))])
    assert nested.counts(EvaluationContext(images, EuclideanSimilarity())) == {"Counted/similarity_is_cosine": 1}
    assert nested.protocol() == {"evaluators": [{"type": "Counted"}, {"type": "RecallAtK", "ks": [2]}]}


def test_queries_that_are_counted_keep_their_names(images, tmp_path):
    tree = tmp_path / "tree.csv"
    tree.write_text("child,parent\nc0,root\nc1,root\n")
    queries = EmbeddingSet(images.embeddings[:6], np.array([0, 1, 1, 0, 1, 1]), class_names=("c0", "c1"))
    gallery = EmbeddingSet(images.embeddings[6:], np.zeros(34, dtype=np.int64), class_names=("c0", "c1"))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery)
    counted = ByDirection("cosine", [ZeroShot(tree, (1,))]).counted_queries(context)
    assert {name: mask.tolist() for name, mask in counted.items()} == {
        "cosine/zero_shot@1": [False, True, True, False, True, True]
    }


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_scores_that_could_not_be_told_from_the_others_are_refused(name):
    with pytest.raises(ValueError, match="name must say how these scores are told from the others"):
        ByDirection(name, [RecallAtK()])
