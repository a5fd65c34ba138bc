from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from metricforge.errors import EmbeddingsError
from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import Verification
from metricforge.interfaces import Similarity
from metricforge.report.score_distributions import draw_score_distributions
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


class Level(Similarity):
    """Rounded, so that scores tie."""

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None] - y[None]).abs().sum(dim=2).round()


@pytest.fixture
def context() -> EvaluationContext:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 50)
    return EvaluationContext(EmbeddingSet(generator.normal(size=(50, 3)) + labels[:, None], labels), Level(), seed=5)


def all_pairs(labels, positive):
    return np.array(
        [(i, j) for i, j in itertools.combinations(range(len(labels)), 2) if (labels[i] == labels[j]) == positive]
    )


def test_the_areas_are_those_of_scikit_learn_ties_as_half(context, tmp_path):
    areas = draw_score_distributions(context, [EuclideanSimilarity(), Level()], tmp_path / "a.png", pairs=2000)
    points = context.queries.embeddings.astype(np.float32).astype(np.float64)
    kinds = [all_pairs(context.queries.labels, positive) for positive in (True, False)]
    apart = points[np.concatenate(kinds)]
    apart = apart[:, 0] - apart[:, 1]  # (P, D)
    truth = np.repeat([1, 0], [len(kind) for kind in kinds])
    assert areas["EuclideanSimilarity"] == pytest.approx(roc_auc_score(truth, -np.linalg.norm(apart, axis=1)), abs=1e-4)
    assert areas["Level"] == pytest.approx(roc_auc_score(truth, -np.abs(apart).sum(axis=1).round()), abs=1e-3)
    assert 0.5 < areas["Level"] < 1


def test_a_sample_is_the_one_that_verification_draws(context, tmp_path):
    areas = draw_score_distributions(context, [EuclideanSimilarity()], tmp_path / "a.png", pairs=100)
    scored = Verification(pairs=100, seed=5).evaluate(context.by(EuclideanSimilarity()))
    assert areas["EuclideanSimilarity"] == pytest.approx(scored["roc_auc"], abs=1e-6)


def test_queries_are_paired_with_the_images_of_a_gallery_of_their_own(tmp_path):
    queries = EmbeddingSet(np.array([[0.0], [10.0]]), np.array([0, 1]))
    gallery = EmbeddingSet(np.array([[1.0], [11.0], [4.0]]), np.array([0, 1, 1]))
    context = EvaluationContext(queries, Level(), gallery=gallery)  # matches at 1, 1, 6; non-matches at 11, 4, 9
    assert draw_score_distributions(context, [Level()], tmp_path / "a.png") == {"Level": pytest.approx(8 / 9)}


@pytest.mark.parametrize(("labels", "missing"), [([1, 2, 3], "one class"), ([4, 4], "two classes")])
def test_labels_without_a_pair_of_each_kind_are_refused(tmp_path, labels, missing):
    alone = EvaluationContext(EmbeddingSet(np.ones((len(labels), 2)), np.array(labels)), Level())
    with pytest.raises(EmbeddingsError, match=rf"there is no pair of {missing} among {len(labels)} queries"):
        draw_score_distributions(alone, [Level()], tmp_path / "a.png")


def test_each_similarity_has_a_panel_and_the_format_follows_the_ending(context, tmp_path):
    draw_score_distributions(context, [Level()], tmp_path / "one.png", pairs=50)
    draw_score_distributions(context, [EuclideanSimilarity(), Level()], tmp_path / "new" / "two.png", pairs=50)
    assert Image.open(tmp_path / "new" / "two.png").width > 1.5 * Image.open(tmp_path / "one.png").width
    draw_score_distributions(context, [EuclideanSimilarity(), Level()], tmp_path / "two.svg", pairs=50)
    svg = (tmp_path / "two.svg").read_text()
    for words in ("Euclidean distance (", "Level (", "pairs of one class", "pairs of two classes"):
        assert words in svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "one.png", "two.svg"]


def test_equal_scores_everywhere_can_be_drawn(tmp_path):
    same = EvaluationContext(EmbeddingSet(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1])), Level())
    assert draw_score_distributions(same, [Level()], tmp_path / "same.png", pairs=20) == {"Level": 0.5}


def test_an_ending_that_is_no_picture_s_is_refused(context, tmp_path):
    with pytest.raises(ValueError, match=r"a\.doc: must end in one of .*png.*, such as a\.png"):
        draw_score_distributions(context, [Level()], tmp_path / "a.doc", pairs=20)
    with pytest.raises(ValueError, match="similarities must hold at least one"):
        draw_score_distributions(context, [], tmp_path / "a.png")
    with pytest.raises(ValueError, match="pairs must be"):
        draw_score_distributions(context, [Level()], tmp_path / "a.png", pairs=0)


@pytest.fixture(autouse=True)
def text_in_svg_as_text():
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        yield
