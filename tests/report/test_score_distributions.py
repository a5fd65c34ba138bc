from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from metricforge.evaluation import EvaluationContext
from metricforge.interfaces import Similarity
from metricforge.report import draw_score_distributions
from metricforge.report.pair_sample import sample_pairs
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


def test_the_areas_are_those_of_scikit_learn_ties_as_half(context, tmp_path):
    areas = draw_score_distributions(context, [EuclideanSimilarity(), Level()], tmp_path / "a.png", pairs=400)
    points = context.queries.embeddings.astype(np.float32).astype(np.float64)
    positive, negative = sample_pairs(context.queries.labels, 400, seed=5)
    gaps = points[np.concatenate([positive, negative])]
    gaps = gaps[:, 0] - gaps[:, 1]  # (P, D)
    truth = [1] * 400 + [0] * 400
    assert areas["EuclideanSimilarity"] == pytest.approx(roc_auc_score(truth, -np.linalg.norm(gaps, axis=1)), abs=1e-4)
    assert areas["Level"] == pytest.approx(roc_auc_score(truth, -np.abs(gaps).sum(axis=1).round()), abs=1e-3)
    assert 0.5 < areas["Level"] < 1


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


@pytest.fixture(autouse=True)
def text_in_svg_as_text():
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        yield
