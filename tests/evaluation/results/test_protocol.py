from __future__ import annotations

import json

import faiss
import numpy as np
import torch

import metricforge
from metricforge.evaluation import EvaluationContext, describe_protocol, run_evaluation
from metricforge.evaluators import NMI, RecallAtK, ScoresBySimilarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def test_a_protocol_says_how_one_set_was_searched_with_itself():
    images = EmbeddingSet(np.eye(5, dtype=np.float32), np.array([0, 0, 1, 1, 2]))
    context = EvaluationContext(images, CosineSimilarity(), seed=17)
    protocol = json.loads(json.dumps(describe_protocol(run_evaluation(context, [RecallAtK((1, 2)), NMI("geometric")]))))
    assert protocol["similarity"] == {"type": "CosineSimilarity", "search": "ip", "parameters": 0}
    assert protocol["self_exclusion"] == "by id"
    assert (protocol["queries"], protocol["gallery"], protocol["classes"]) == (5, 5, 3)
    assert protocol["queries_without_match"] == 1
    assert protocol["embedding"] == {"dimensions": 5, "dtype": "float32", "bytes_per_vector": 20}
    assert (protocol["clustering"]["method"], protocol["clustering"]["seed"]) == ("k-means", 17)
    recall, nmi = protocol["evaluators"]
    assert recall == {"type": "RecallAtK", "scores": ["recall@1", "recall@2"], "ks": [1, 2]}
    assert (nmi["type"], nmi["normalization"]) == ("NMI", "geometric")
    assert protocol["versions"]["torch"] == str(torch.__version__)
    assert protocol["versions"]["faiss"] == faiss.__version__


def test_after_an_evaluation_it_says_which_evaluator_gave_which_score():
    images = EmbeddingSet(np.eye(5, dtype=np.float32), np.array([0, 0, 1, 1, 2]))
    context = EvaluationContext(images, CosineSimilarity())
    nested = ScoresBySimilarity("far", EuclideanSimilarity(), [RecallAtK((2,)), NMI()])
    evaluators = [RecallAtK((1, 2)), NMI("geometric"), nested]
    recall, nmi, far = json.loads(json.dumps(describe_protocol(run_evaluation(context, evaluators))))["evaluators"]
    assert recall["scores"] == ["recall@1", "recall@2"]
    assert nmi["scores"] == ["nmi_geometric"]
    assert far["scores"] == ["far/recall@2", "far/nmi"]
    assert [inner["scores"] for inner in far["evaluators"]] == [["recall@2"], ["nmi"]]


def test_a_protocol_says_that_queries_and_gallery_are_two_sets():
    queries, gallery = EmbeddingSet(np.eye(3), np.arange(3)), EmbeddingSet(np.ones((7, 3)), np.zeros(7, dtype=int))
    protocol = describe_protocol(
        run_evaluation(EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery), [RecallAtK((1,))])
    )
    assert protocol["self_exclusion"] == "none, queries and gallery are two sets"
    assert (protocol["queries"], protocol["gallery"], protocol["queries_without_match"]) == (3, 7, 2)


def test_a_protocol_has_the_version_whatever_the_distribution_is_called():
    images = EmbeddingSet(np.eye(2), np.zeros(2, dtype=int))
    protocol = describe_protocol(run_evaluation(EvaluationContext(images, EuclideanSimilarity()), []))
    assert protocol["versions"]["metricforge"] == metricforge.__version__
