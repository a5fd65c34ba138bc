from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge import EVALUATORS, Evaluator
from metricforge.testing import check_evaluator


class FirstHit(Evaluator):
    """Small and right; the rest break it."""

    def neighbours_needed(self, context):
        return 1

    def evaluate(self, context):
        return {"first_hit": float(context.hits(1).mean())}


def test_an_evaluator_that_keeps_the_contract_passes():
    check_evaluator(FirstHit())


@pytest.mark.parametrize("kind", ["RecallAtK", "MAPAtR", "RPrecision", "NMI"])
def test_the_evaluators_of_the_core_pass(kind):
    check_evaluator(EVALUATORS.build(dict(type=kind)))


def test_more_images_serve_an_evaluator_of_many_neighbours():
    recall = EVALUATORS.build(dict(type="RecallAtK", ks=(1, 60)))
    check_evaluator(recall, images=80)
    with pytest.raises(AssertionError, match=r"^RecallAtK: .*raised ValueError.*60"):
        check_evaluator(recall)


class ReadsMore(FirstHit):
    def evaluate(self, context):
        return {"seventh_hit": float(context.hits(7)[:, 6].mean())}


class GivesNothing(FirstHit):
    def evaluate(self, context):
        return {}


class GivesInt(FirstHit):
    def evaluate(self, context):
        return {"count": 3}


class GivesNan(FirstHit):
    def evaluate(self, context):
        return {"score": float("nan")}


class Nameless(FirstHit):
    def evaluate(self, context):
        return {"": 1.0}


class IsRandom(FirstHit):
    def evaluate(self, context):
        return {"score": float(torch.rand(()))}


class ReadsClassNames(FirstHit):
    def evaluate(self, context):
        return {"score": float(context.queries.labels.mean())}


class SortsInPlace(FirstHit):
    def evaluate(self, context):
        context.queries.labels.sort()
        return {"score": 1.0}


class ForgetsTheGallery(FirstHit):
    def evaluate(self, context):
        assert context.searches_itself, "no gallery, please"
        return super().evaluate(context)


class NeedsHalf(FirstHit):
    def neighbours_needed(self, context):
        return 0.5


class GivesOtherValues(FirstHit):
    def per_query(self, context):
        return {"first_hit": ~context.hits(1)[:, 0]}


class CountsOtherQueries(FirstHit):
    def per_query(self, context):
        return {"first_hit": context.hits(1)[:, 0]}

    def counted_queries(self, context):
        return {"first_hit": np.arange(len(context.queries)) < 5}


class CountsTooFewQueries(CountsOtherQueries):
    def counted_queries(self, context):
        return {"first_hit": np.ones(3, dtype=bool)}


class GivesTooFewValues(FirstHit):
    def per_query(self, context):
        return {"first_hit": context.hits(1)[1:, 0]}


class GivesValuesOfNoScore(FirstHit):
    def per_query(self, context):
        return {"hit": context.hits(1)[:, 0]}


class ProtocolOfObjects(FirstHit):
    def protocol(self):
        return {"kind": FirstHit}


@pytest.mark.parametrize(
    ("evaluator", "message"),
    [
        (
            ReadsMore,
            r"it reads no more neighbours than neighbours_needed says \(.*\): it reads 7 of each query, and says 1",
        ),
        (GivesNothing, r"evaluate gives named, finite floats \(queries search themselves\): got \{\}"),
        (GivesInt, r"count is 3"),
        (GivesNan, r"score is nan"),
        (Nameless, r"'' is not a name"),
        (IsRandom, r"the same images give the same scores"),
        (ReadsClassNames, r"what the classes are called changes nothing"),
        (SortsInPlace, r"it leaves the embedding set alone"),
        (ForgetsTheGallery, r"\(queries search a gallery\): no gallery, please"),
        (NeedsHalf, r"neighbours_needed is a whole number .*got 0\.5"),
        (GivesOtherValues, r"the means of per_query are its scores .*first_hit is 0\.\d+, not 0\.\d+"),
        (GivesTooFewValues, r"first_hit must have a value for each query, got shape \(47,\)"),
        (CountsOtherQueries, r"the means of per_query are its scores .*first_hit is 0\.\d+, not 0\.\d+"),
        (CountsTooFewQueries, r"counted_queries of first_hit must be \(Q,\) bool"),
        (GivesValuesOfNoScore, r'per_query has "hit", evaluate has first_hit'),
        (ProtocolOfObjects, r"its protocol can be written as JSON: raised TypeError"),
    ],
)
def test_a_broken_evaluator_is_caught_and_the_clause_is_named(evaluator, message):
    with pytest.raises(AssertionError, match=rf"^{evaluator.__name__}: .*{message}"):
        check_evaluator(evaluator())


def test_what_is_not_an_evaluator_is_caught():
    with pytest.raises(AssertionError, match=r"^object: .*not a metricforge\.Evaluator"):
        check_evaluator(object())


class OfEachClass(FirstHit):
    """The share of hits of each class, by its name, as a float32."""

    def evaluate(self, context):
        hits, names = context.hits(1)[:, 0], context.queries.class_names
        labels = context.queries.labels
        return {f"hit/{names[label]}": hits[labels == label].mean(dtype=np.float32) for label in np.unique(labels)}


def test_scores_of_single_classes_by_name_in_float32_pass():
    check_evaluator(OfEachClass())


class SortsTheGallery(FirstHit):
    def evaluate(self, context):
        context.gallery.embeddings.sort(axis=0)
        return super().evaluate(context)


class ChangesTheNeighbours(FirstHit):
    def evaluate(self, context):
        scores = super().evaluate(context)
        context.neighbours(1)[:] = 0
        return scores


class IsConstant(FirstHit):
    def evaluate(self, context):
        return {"score": 0.5}


@pytest.mark.parametrize(
    ("evaluator", "said"),
    [
        (SortsTheGallery, "embeddings of the .* were changed in place"),
        (ChangesTheNeighbours, "the cached neighbours were changed in place|read-only"),
        (IsConstant, "it tells other embeddings from random ones: .* it is constant"),
    ],
)
def test_an_evaluator_that_changes_what_others_read_or_reads_nothing_is_noticed(evaluator, said):
    with pytest.raises(AssertionError, match=said):
        check_evaluator(evaluator())
