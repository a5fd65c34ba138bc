from __future__ import annotations

import json

import numpy as np
import pytest

from metricforge.errors import ConfigError
from metricforge.evaluation import EvaluationContext, context, describe_protocol, evaluate, evaluator, run_evaluation
from metricforge.evaluators import NMI, MAPAtR, RecallAtK, ScoresBySimilarity
from metricforge.registry import EVALUATORS
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


@pytest.fixture
def images() -> EmbeddingSet:
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(60, 16)).astype(np.float32)
    return EmbeddingSet(embeddings, generator.integers(0, 5, 60), ids=generator.permutation(60) + 100)


def binary(*evaluators):
    return ScoresBySimilarity("binary", HammingSimilarity(), evaluators or [RecallAtK((1, 2))])


def test_the_contract_holds():
    check_evaluator(binary(RecallAtK(), MAPAtR(), NMI()))


@pytest.mark.parametrize("with_gallery", [False, True])
def test_its_scores_are_those_of_the_thresholded_embeddings_beside_the_float_ones(images, with_gallery):
    gallery = EmbeddingSet(images.embeddings[::-1] + 0.3, images.labels[::-1].copy()) if with_gallery else None
    inner = [RecallAtK((1, 2)), MAPAtR(), NMI()]
    scores = evaluate(EvaluationContext(images, CosineSimilarity(), gallery, seed=3), [RecallAtK((1,)), binary(*inner)])

    def bits(image_set):  # squared distances of 0/1 vectors are Hamming distances
        return EmbeddingSet((image_set.embeddings > 0).astype(np.float32), image_set.labels, image_set.ids)

    of_bits = EvaluationContext(bits(images), EuclideanSimilarity(), gallery and bits(gallery), seed=3)
    assert list(scores) == ["recall@1", "binary/recall@1", "binary/recall@2", "binary/map@r", "binary/nmi"]
    for name, value in evaluate(of_bits, inner).items():
        assert scores[f"binary/{name}"] == pytest.approx(value)
    assert scores["recall@1"] != scores["binary/recall@1"]


def test_ranks_are_found_once_for_each_similarity(images, monkeypatch):
    asked = []
    find = evaluator.match_ranks

    def counting(task, similarity, depth, **options):
        asked.append(type(similarity).__name__)
        return find(task, similarity, depth, **options)

    monkeypatch.setattr(evaluator, "match_ranks", counting)
    evaluate(EvaluationContext(images, CosineSimilarity()), [RecallAtK((1,)), binary(RecallAtK((1, 4)), MAPAtR())])
    assert asked == ["CosineSimilarity", "HammingSimilarity"]


def test_the_protocol_says_bytes_a_vector_of_both(images):
    protocol = describe_protocol(
        run_evaluation(EvaluationContext(images, CosineSimilarity()), [binary(RecallAtK((1, 2)))])
    )
    protocol = json.loads(json.dumps(protocol))
    assert protocol["embedding"]["bytes_per_vector"] == 64  # 16 float32
    assert protocol["evaluators"] == [
        {
            "type": "ScoresBySimilarity",
            "scores": ["binary/recall@1", "binary/recall@2"],
            "name": "binary",
            "similarity": "HammingSimilarity",
            "evaluators": [{"type": "RecallAtK", "scores": ["recall@1", "recall@2"], "ks": [1, 2]}],
            "counts": {"bytes_per_vector": 2},
        }
    ]


def test_a_context_of_binary_codes_says_their_bytes(images):
    by_bits = EvaluationContext(images, HammingSimilarity())
    assert describe_protocol(run_evaluation(by_bits, []))["embedding"]["bytes_per_vector"] == 2
    assert describe_protocol(run_evaluation(by_bits, []))["similarity"]["search"] == "hamming"


def test_too_large_a_k_is_refused_before_anything_is_searched(images, monkeypatch):
    monkeypatch.setattr(context, "exact_knn", None)
    with pytest.raises(ValueError, match="ks of RecallAtK must be at most 59"):
        evaluate(EvaluationContext(images, CosineSimilarity()), [RecallAtK((1,)), binary(RecallAtK((60,)))])


CONFIG = dict(type="ScoresBySimilarity", name="binary", similarity=dict(type="HammingSimilarity"))


def test_a_config_builds_it_with_all_its_parts():
    built = EVALUATORS.build(CONFIG | dict(evaluators=[dict(type="RecallAtK", ks=[1, 3]), dict(type="NMI")]))
    assert type(built.similarity) is HammingSimilarity
    assert [type(evaluator) for evaluator in built.evaluators] == [RecallAtK, NMI]
    assert built.evaluators[0].ks == (1, 3)


def test_a_fault_in_its_evaluators_has_the_whole_path():
    config = CONFIG | dict(evaluators=[dict(type="NMI"), dict(type="RecalAtK")])
    faults = EVALUATORS.faults(config, "evaluators[2]", {})
    assert faults[0].startswith('evaluators[2].evaluators[1].type: "RecalAtK"')


def test_embeddings_that_fill_no_bytes_are_found_when_it_is_built():
    config = CONFIG | dict(evaluators=[dict(type="NMI")])
    with pytest.raises(ConfigError, match=r"evaluators\[2\].similarity: dim \(50\) must be a multiple of 8"):
        EVALUATORS.build(config, path="evaluators[2]", dim=50)


def test_a_similarity_with_weights_is_refused():
    class Learned(CosineSimilarity):
        def __init__(self) -> None:
            import torch

            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

    with pytest.raises(ValueError, match="got Learned with 3, which nothing has trained"):
        ScoresBySimilarity("learned", Learned(), [NMI()])


@pytest.mark.parametrize(
    ("name", "evaluators", "message"), [("", [NMI()], "name must say"), ("binary", [], "at least one evaluator")]
)
def test_an_empty_name_and_no_evaluators_are_refused(name, evaluators, message):
    with pytest.raises(ValueError, match=message):
        ScoresBySimilarity(name, HammingSimilarity(), evaluators)
