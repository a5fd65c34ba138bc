from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from metricforge.deployment.image_collection import open_collection
from metricforge.errors import EmbeddingsError
from metricforge.index import SearchIndex, build_index
from metricforge.index.calibration import Calibration, calibrate


def _made_up(seed: int, classes: int = 60, queries: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Class of each query, and the similarity of its nearest impostor: some classes are easier to mistake."""
    draws = np.random.default_rng(seed)
    owners = np.repeat(np.arange(classes), queries)
    return owners, draws.normal(0, 0.05, classes)[owners] + draws.normal(0.5, 0.08, classes * queries)


def _calibrated(owners: np.ndarray, impostors: np.ndarray, rate: float) -> Calibration:
    return calibrate(impostors, impostors + 0.2, owners, np.array([0.1, 0.9]), np.array([0, 1]), rate)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_threshold_is_the_least_that_accepts_no_more_than_asked(rate):
    owners, impostors = _made_up(0)
    found = _calibrated(owners, impostors, rate)
    assert found.rate == np.mean(impostors >= found.threshold) <= rate
    next_lower = impostors[impostors < found.threshold].max()
    assert np.mean(impostors >= next_lower) > rate


def test_ties_at_the_threshold_are_refused_together():
    owners = np.arange(40) % 20
    impostors = np.repeat([0.9, 0.5], 20)
    found = _calibrated(owners, impostors, 0.3)
    assert found.threshold > 0.9
    assert found.rate == 0


@pytest.mark.slow
def test_the_rate_of_other_classes_lies_in_the_interval_in_95_of_100_splits():
    inside = 0
    for split in range(200):
        owners, impostors = _made_up(split // 20)
        chosen = np.isin(owners, np.random.default_rng(split).permutation(60)[:30])
        found = _calibrated(owners[chosen], impostors[chosen], 0.05)
        inside += found.low <= np.mean(impostors[~chosen] >= found.threshold) <= found.high
    assert inside >= 190


def test_probabilities_are_those_of_isotonic_regression_between_points_a_line():
    draws = np.random.default_rng(1)
    scores = np.sort(draws.random(300))
    matches = (draws.random(300) < scores).astype(np.int64)
    owners, impostors = _made_up(0)
    found = calibrate(impostors, impostors, owners, scores, matches, 0.05)
    expected = isotonic_regression(matches.astype(float))
    np.testing.assert_allclose([found.probability(score) for score in scores], expected, atol=1e-9)
    assert found.probability(-5) == expected[0]
    assert Calibration.from_json(found.to_json()) == found


def test_what_cannot_be_calibrated_is_told():
    owners, impostors = _made_up(0, classes=9)
    with pytest.raises(EmbeddingsError, match="at least 10 classes, and there are 9"):
        _calibrated(owners, impostors, 0.05)
    owners, impostors = _made_up(0)
    with pytest.raises(ValueError, match="rate must be above 0 and below 1, got 1"):
        _calibrated(owners, impostors, 1)
    with pytest.raises(EmbeddingsError, match="of one kind"):
        calibrate(impostors, impostors, owners, np.array([0.5]), np.array([1]), 0.1)


@pytest.fixture
def of_many_classes(pixel_model, photo_folder, tmp_path) -> SearchIndex:
    """The photographs as twenty classes of four."""
    photos = sorted(photo_folder.rglob("*.png"))
    rows = "".join(f"{photo},{number // 4}\n" for number, photo in enumerate(photos))
    (tmp_path / "photos.csv").write_text("path,label\n" + rows)
    return build_index(pixel_model, open_collection(tmp_path / "photos.csv"), tmp_path / "index")


def test_an_index_is_calibrated_on_its_own_images_each_without_itself(of_many_classes):
    index = of_many_classes
    vectors = np.stack([index.vector(number) for number in range(80)]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    same = np.arange(80)[:, None] // 4 == np.arange(80) // 4
    impostors = np.where(same, -np.inf, cosines).max(axis=1)
    found = index.calibrate(rate=0.1)
    assert found.rate == pytest.approx(0.1)
    assert np.sum(impostors > found.threshold + 1e-6) == 8
    assert SearchIndex(index.path).calibration == found
    (hits,) = index.search(vectors[:1].astype(np.float32), k=2)
    assert hits[0].is_match
    assert [hit.probability for hit in hits] == [found.probability(hit.score) for hit in hits]


def test_images_without_labels_are_refused(pixel_model, photo_folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in list(photo_folder.rglob("*.png"))[:12]:
        (flat / photo.name).write_bytes(photo.read_bytes())
    index = build_index(pixel_model, open_collection(flat), tmp_path / "index")
    with pytest.raises(EmbeddingsError, match="its images have no labels"):
        index.calibrate()
