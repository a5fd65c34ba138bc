from __future__ import annotations

import numpy as np
import pytest

from metricforge import spaces
from metricforge.spaces import FittingSet, Space


def _rows(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 6)) * [9.0, 5.0, 3.0, 1.0, 0.5, 0.1] + 2


def _by_svd(rows: np.ndarray, fitted: np.ndarray, dimensions: int) -> np.ndarray:
    centre = fitted.mean(axis=0)
    directions = np.linalg.svd(fitted - centre, full_matrices=False)[2][:dimensions]
    return (rows - centre) @ directions.T


def test_the_first_dimensions_are_kept_of_queries_and_gallery():
    queries, gallery = _rows(4), _rows(7, seed=1)
    found, others = Space("first:2").transformed(queries, gallery, seed=0)
    assert np.array_equal(found, queries[:, :2])
    assert np.array_equal(others, gallery[:, :2])
    assert Space("first:6").transformed(queries, None, seed=0)[1] is None


@pytest.mark.parametrize("fitted_on", ["the queries", "the gallery", "other images"])
@pytest.mark.parametrize("rows_at_once", [5, 8192])
def test_principal_components_are_those_of_a_singular_value_decomposition(monkeypatch, fitted_on, rows_at_once):
    monkeypatch.setattr(spaces, "ROWS_AT_ONCE", rows_at_once)
    queries, gallery, others = _rows(30), _rows(40, seed=1), _rows(50, seed=2)
    fit_on = FittingSet(others, "train.npz", "f") if fitted_on == "other images" else None
    space = Space("pca:3", fit_on)
    found, its_gallery = space.transformed(queries, None if fitted_on == "the queries" else gallery, seed=0)
    fitted = {"the queries": queries, "the gallery": gallery, "other images": others}[fitted_on]
    expected = _by_svd(queries, fitted, 3)
    signs = np.sign((found * expected).sum(axis=0))  # a direction may point either way
    np.testing.assert_allclose(found * signs, expected, rtol=0, atol=1e-4)
    if its_gallery is not None:
        np.testing.assert_allclose(its_gallery * signs, _by_svd(gallery, fitted, 3), rtol=0, atol=1e-4)


def test_int8_rounds_to_steps_of_the_largest_absolute_value_by_dimension_and_cuts_off_beyond():
    gallery = np.array([[127.0, -0.5, 0.0], [-20.4, 0.25, 0.0]])
    queries = np.array([[300.0, 0.1, 4.0]])
    found, its_gallery = Space("int8").transformed(queries, gallery, seed=0)
    unit = 0.5 / 127
    np.testing.assert_allclose(its_gallery, [[127, -0.5, 0], [-20, 64 * unit, 0]], rtol=1e-6)  # 63.5 to even
    np.testing.assert_allclose(found, [[127, 25 * unit, 1]], rtol=1e-6)  # no step is known of a dimension that is 0
    assert found.dtype == np.float32


def test_steps_follow_each_other_and_are_fitted_on_what_the_one_before_left():
    rows = _rows(30)
    reduced, _ = Space("pca:2").transformed(rows, None, seed=0)
    found, _ = Space("pca:2 + int8").transformed(rows, None, seed=0)
    expected, _ = Space("int8").transformed(reduced, None, seed=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"), [("first:4", 8), ("pca:4", 16), ("int8", 6), ("pca:4+int8", 4), ("first:3+pca:2", 8)]
)
def test_a_vector_takes_the_bytes_of_what_is_left_of_it(name, size):
    assert Space(name).bytes_per_vector(6, item=2) == size  # of float16


@pytest.mark.parametrize("name", ["", "pca", "pca:0", "first:-1", "pca:²", "int4", "pca:2+", "first:2.5"])
def test_another_name_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=r'space ".*" is none; spaces are "first:N", "pca:N"'):
        Space(name)


def test_what_the_embeddings_do_not_have_is_refused():
    with pytest.raises(ValueError, match="int8 must be the last step"):
        Space("int8+first:2")
    with pytest.raises(ValueError, match="space must be text, got 64"):
        Space(64)
    with pytest.raises(ValueError, match="keeps 7 dimensions, and the embeddings have 6"):
        Space("first:7").transformed(_rows(9), None, seed=0)
    with pytest.raises(ValueError, match="keeps 3 dimensions, and the embeddings have 2"):
        Space("first:2+pca:3").transformed(_rows(9), None, seed=0)
    with pytest.raises(ValueError, match="PCA on the 4 images of the gallery has at most 4"):
        Space("pca:5").transformed(_rows(9), _rows(4), seed=0)
    other = FittingSet(np.ones((9, 5)), "train.npz", "f")
    with pytest.raises(ValueError, match=r"fitted on train\.npz, which has 5 dimensions, and the queries have 6"):
        Space("pca:2", other).transformed(_rows(9), None, seed=0)
