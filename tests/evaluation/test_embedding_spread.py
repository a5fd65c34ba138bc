from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from metricforge.evaluation.embedding_spread import CollapsedEmbeddingsWarning, EmbeddingSpread, embedding_spread


@pytest.mark.parametrize("dimensions", [1, 3, 20])
def test_axes_in_both_directions_take_all_of_the_space(dimensions):
    axes = np.concatenate([np.eye(dimensions), -np.eye(dimensions)])
    spread, rank = embedding_spread(axes)
    assert spread == pytest.approx(1)  # their mean is 0
    assert rank == pytest.approx(dimensions)


def test_a_hand_worked_pair_has_half_the_distance_between_them_as_spread():
    spread, rank = embedding_spread(np.array([[3.0, 4.0], [5.0, 4.0]]))  # 1 from their mean; squares 25 and 41
    assert spread == pytest.approx(1 / np.sqrt(33))
    assert rank == pytest.approx(1)


@pytest.mark.parametrize(("count", "dimensions"), [(200, 12), (10, 40)])
def test_the_effective_rank_is_e_to_the_entropy_of_what_principal_components_explain(count, dimensions):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(count, dimensions)) * np.geomspace(1, 0.01, dimensions) + 3
    shares = PCA().fit(rows).explained_variance_ratio_
    shares = shares[shares > 1e-12]
    assert embedding_spread(rows).effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_unit_of_embeddings_changes_nothing(scale):
    rows = np.random.default_rng(0).normal(size=(50, 6)) + 0.5
    assert embedding_spread(rows * scale) == pytest.approx(embedding_spread(rows), rel=1e-9)


def test_nothing_to_tell_apart_is_zero():
    for rows in (np.zeros((4, 3)), np.full((4, 3), 0.1, dtype=np.float32), np.ones((1, 3))):
        assert embedding_spread(rows) == (0, 0)


def test_of_many_rows_evenly_spaced_ones_tell():
    rows = np.random.default_rng(0).normal(size=(1024, 4))
    spaced = np.repeat(rows, 3, axis=0)  # row 3 n or one beside it is taken, and these are the same
    assert embedding_spread(spaced) == pytest.approx(embedding_spread(rows), rel=0.01)


@pytest.mark.parametrize(
    ("spread", "rank", "dimensions", "images", "said"),
    [
        (0.0099, 7, 64, 2, "are nearly all the same"),
        (0.5, 1.49, 8, 100, "lie nearly on one line"),
        (0.5, 1.49, 7, 100, None),
        (0.5, 1.49, 8, 99, None),
        (0.01, 1.5, 64, 100, None),
    ],
)
def test_collapsed_embeddings_are_warned_of_and_others_are_not(spread, rank, dimensions, images, said):
    measured = EmbeddingSpread(spread, rank)
    if said is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            measured.warn_of_collapse(dimensions, images)
    else:
        with pytest.warns(CollapsedEmbeddingsWarning, match=said):
            measured.warn_of_collapse(dimensions, images)
