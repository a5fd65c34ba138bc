import numpy as np
import pytest

from metricforge.engine.readout.whitening import whitening


def cosines(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_components_are_those_of_the_svd_divided_by_the_square_root_of_their_singular_values():
    rows = np.random.default_rng(0).normal(size=(60, 9)) @ np.diag(np.arange(1, 10)) + 5
    weight, bias = whitening(rows.astype(np.float32), 4)
    centred = rows - rows.mean(axis=0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ (components[:4] / np.sqrt(singular[:4, None])).T
    assert np.allclose(cosines(rows @ weight.T + bias), cosines(expected), atol=1e-5)


def test_there_are_no_more_components_than_the_features_have():
    rows = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    weight, bias = whitening(rows, 512)
    assert weight.shape == (4, 9), "five images span four dimensions"
    assert bias.shape == (4,)
    doubled, _ = whitening(np.concatenate([rows, rows]), 512)
    assert doubled.shape == (4, 9), "duplicates add none"


def test_more_than_eight_but_fewer_than_asked_for_are_a_multiple_of_eight():
    rows = np.random.default_rng(0).normal(size=(22, 40)).astype(np.float32)
    assert [len(whitening(rows, dim)[0]) for dim in (512, 21, 20, 17)] == [16, 21, 20, 17]


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.full((7, 3), 0.1)])
def test_equal_features_have_no_component(rows):
    assert whitening(rows.astype(np.float32), 2)[0].shape == (0, 3)


def test_the_sign_of_a_component_does_not_depend_on_the_library():
    weight, _ = whitening(np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32), 5)
    assert (weight[np.arange(5), np.abs(weight).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize(
    ("rows", "dim", "message"), [(np.zeros((0, 3)), 1, "N at least 1"), (np.zeros((2, 3)), 0, "dim")]
)
def test_what_cannot_be_whitened_is_refused(rows, dim, message):
    with pytest.raises(ValueError, match=message):
        whitening(rows, dim)
