from __future__ import annotations

import json

import numpy as np
import pytest
from torch import Tensor, nn

from metricforge.evaluation import EvaluationContext, describe_protocol, evaluate, run_evaluation
from metricforge.evaluators import RecallAtK, ScoresInSpace
from metricforge.interfaces import Similarity
from metricforge.registry import EVALUATORS
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.spaces import FittingSet, Space
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


@pytest.fixture
def images() -> EmbeddingSet:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 6, 80)
    return EmbeddingSet((generator.normal(size=(80, 12)) + np.eye(12)[labels] * 2).astype(np.float32), labels)


@pytest.fixture
def gallery() -> EmbeddingSet:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 6, 50)
    return EmbeddingSet((generator.normal(size=(50, 12)) + np.eye(12)[labels] * 2).astype(np.float32), labels)


@pytest.mark.parametrize("space", ["first:3", "pca:4", "int8", "pca:4+int8"])
def test_the_contract_holds(space):
    check_evaluator(ScoresInSpace(space, [RecallAtK((1,))]))


def test_first_dimensions_are_those_of_embeddings_cut_off(images):
    cut = EmbeddingSet(images.embeddings[:, :5], images.labels)
    expected = evaluate(EvaluationContext(cut, CosineSimilarity()), [RecallAtK((1, 3))])
    found = evaluate(EvaluationContext(images, CosineSimilarity()), [ScoresInSpace("first:5", [RecallAtK((1, 3))])])
    assert found == {f"first:5/{name}": value for name, value in expected.items()}


def test_pca_is_fitted_on_the_gallery_and_moves_queries_with_it(images, gallery):
    queries, searched = Space("pca:4").transformed(images.embeddings, gallery.embeddings, seed=0)
    centred = gallery.embeddings - gallery.embeddings.mean(axis=0)
    _, _, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    for found, rows in ((queries, images.embeddings), (searched, gallery.embeddings)):
        expected = (rows - gallery.embeddings.mean(axis=0)) @ directions[:4].T
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)  # a direction's sign is free


def test_all_principal_directions_change_no_distance(images):
    plain = EvaluationContext(images, EuclideanSimilarity())
    assert (in_space(plain, "pca:12").neighbours(20) == plain.neighbours(20)).all()


def test_int8_has_at_most_255_values_a_dimension_half_a_step_away(images, gallery):
    queries, searched = Space("int8").transformed(images.embeddings, gallery.embeddings, seed=0)
    steps = np.abs(gallery.embeddings).max(axis=0) / 127
    np.testing.assert_allclose(searched / steps, np.rint(searched / steps), atol=1e-3)
    assert (np.abs(searched - gallery.embeddings) <= 0.501 * steps).all()
    inside = np.abs(images.embeddings) <= 127 * steps
    assert (np.abs(queries - images.embeddings)[inside] <= (0.501 * np.ones_like(queries) * steps)[inside]).all()
    np.testing.assert_allclose(np.abs(queries)[~inside], (127 * np.ones_like(queries) * steps)[~inside], rtol=1e-5)


def test_a_dimension_that_is_always_zero_stays_zero_in_int8():
    rows = np.array([[0.0, 1.0], [0.0, -2.0]], dtype=np.float32)
    np.testing.assert_allclose(
        Space("int8").transformed(rows, None, seed=0)[0], [[0, 64 * 2 / 127], [0, -2]], rtol=1e-6
    )


@pytest.mark.parametrize(("space", "size"), [("first:5", 20), ("pca:4", 16), ("int8", 12), ("first:8+pca:4+int8", 4)])
def test_the_protocol_says_the_space_and_its_bytes(images, space, size):
    evaluator = ScoresInSpace(space, [RecallAtK((1,))])
    protocol = json.loads(
        json.dumps(describe_protocol(run_evaluation(EvaluationContext(images, CosineSimilarity()), [evaluator])))
    )
    assert protocol["embedding"]["bytes_per_vector"] == 48
    assert protocol["evaluators"][0]["space"] == space
    assert protocol["evaluators"][0]["counts"]["bytes_per_vector"] == size


def test_half_precision_keeps_its_two_bytes_in_its_first_dimensions(images):
    halved = EmbeddingSet(images.embeddings.astype(np.float16), images.labels)
    assert in_space(EvaluationContext(halved, CosineSimilarity()), "first:5").bytes_per_vector == 10


def test_values_a_query_are_named_as_the_scores(images):
    context = EvaluationContext(images, CosineSimilarity())
    evaluator = ScoresInSpace("pca:4", [RecallAtK((1,))])
    values = evaluator.per_query(context)
    assert evaluator.evaluate(context) == {"pca:4/recall@1": pytest.approx(values["pca:4/recall@1"].mean())}


@pytest.mark.parametrize(
    "space", ["", "last:4", "first", "first:0", "pca:-1", "int8:4", "int8+pca:4", "pca:4+", "first:1.5", 4]
)
def test_another_space_is_refused_with_those_there_are(space):
    with pytest.raises(ValueError, match=r'spaces are "first:N"'):
        ScoresInSpace(space, [RecallAtK((1,))])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("first:13", "keeps 13 dimensions, and the embeddings have 12"),
        ("pca:12", "PCA on the 9 images of the gallery has at most 9"),
    ],
)
def test_more_dimensions_than_there_are_are_refused(images, gallery, space, message):
    few = gallery.where(np.arange(len(gallery)) < 9)
    with pytest.raises(ValueError, match=message):
        ScoresInSpace(space, [RecallAtK((1,))]).evaluate(EvaluationContext(images, CosineSimilarity(), few))


def test_a_similarity_with_weights_is_refused(images):
    class Learned(Similarity):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Linear(12, 2)

        def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
            return self.weight(x) @ self.weight(y).T

    with pytest.raises(ValueError, match="needs a similarity without weights, got Learned with 26"):
        ScoresInSpace("int8", [RecallAtK((1,))]).evaluate(EvaluationContext(images, Learned()))


def test_a_config_builds_it():
    config = {"type": "ScoresInSpace", "space": "pca:8+int8", "evaluators": [{"type": "RecallAtK", "ks": [1]}]}
    assert [step.kind for step in EVALUATORS.build(config).space.steps] == ["pca", "int8"]


def in_space(context, name, fit_on=None):
    return ScoresInSpace(name, [RecallAtK((1,))], fit_on).ranking(context)


def fitting_set(images: EmbeddingSet) -> FittingSet:
    return FittingSet(images.embeddings, "train.npz", "1a2b")


@pytest.mark.parametrize("with_gallery", [False, True])
def test_pca_and_int8_are_fitted_on_the_other_images_that_are_given(images, gallery, with_gallery):
    train = EmbeddingSet(gallery.embeddings * np.arange(1, 13, dtype=np.float32) + 3, gallery.labels)
    searched = gallery.embeddings if with_gallery else None
    found = Space("pca:4+int8", fitting_set(train)).transformed(images.embeddings, searched, seed=0)
    mean = train.embeddings.mean(axis=0)
    _, _, directions = np.linalg.svd((train.embeddings - mean).astype(np.float64), full_matrices=False)
    steps = np.abs((train.embeddings - mean) @ directions[:4].T).max(axis=0) / 127
    for rows, reduced in zip((images.embeddings, searched), found, strict=True):
        if rows is None:
            assert reduced is None
            continue
        expected = (rows - mean) @ directions[:4].T  # of either sign
        inside = np.abs(expected) < 127 * steps
        assert (np.abs(np.abs(reduced) - np.abs(expected)) <= 0.51 * steps)[inside].all()
        np.testing.assert_allclose(reduced / steps, np.rint(reduced / steps), atol=0.02)


def test_one_space_fitted_on_two_sets_is_two_spaces(images, gallery):
    context = EvaluationContext(images, CosineSimilarity())
    others = fitting_set(gallery)
    assert in_space(context, "pca:4", others) is in_space(context, "pca:4", others)
    first, second = (in_space(context, "pca:4", fit_on).queries.embeddings for fit_on in (None, others))
    assert not np.allclose(np.abs(first), np.abs(second), atol=0.01)


def test_the_protocol_names_what_a_space_is_fitted_on(images, gallery):
    context = EvaluationContext(images, CosineSimilarity())
    evaluators = [
        ScoresInSpace("pca:3", [RecallAtK((1,))]),
        ScoresInSpace("pca:4", [RecallAtK((1,))], fitting_set(gallery)),
    ]
    on_gallery, on_others = describe_protocol(run_evaluation(context, evaluators))["evaluators"]
    assert on_gallery["fitted_on"] == "the gallery"
    assert on_others["fitted_on"] == "50 other images, fingerprint 1a2b"
    assert on_others["fitted_on_source"] == "train.npz"


def test_a_fitting_set_of_other_dimensions_or_too_few_images_or_of_another_kind_is_refused(images, gallery):
    context = EvaluationContext(images, CosineSimilarity())
    narrow = EmbeddingSet(gallery.embeddings[:, :5], gallery.labels)
    few = gallery.where(np.arange(len(gallery)) < 3)
    with pytest.raises(ValueError, match=r"fitted on train\.npz, which has 5 dimensions, and the queries have 12"):
        in_space(context, "pca:4", fitting_set(narrow))
    with pytest.raises(ValueError, match=r"PCA on the 3 images of train\.npz has at most 3"):
        in_space(context, "pca:4", fitting_set(few))
    with pytest.raises(ValueError, match=r"fit_on must be a FittingSet .* --fit-space FILE"):
        ScoresInSpace("pca:4", [RecallAtK((1,))], "train.npz")
