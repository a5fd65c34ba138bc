from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from metricforge.calibration import Calibration
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.calibration import calibrate, calibrate_embeddings
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def _made_up(seed: int, classes: int = 60, queries: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Class of each query, and the similarity of its nearest impostor: some classes are easier to mistake."""
    draws = np.random.default_rng(seed)
    owners = np.repeat(np.arange(classes), queries)
    return owners, draws.normal(0, 0.05, classes)[owners] + draws.normal(0.5, 0.08, classes * queries)


def _calibrated(owners: np.ndarray, impostors: np.ndarray, rate: float) -> Calibration:
    return calibrate(impostors, impostors + 0.2, owners, np.array([0.1, 0.9]), np.array([0, 1]), rate, gallery=9)


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
    found = calibrate(impostors, impostors, owners, scores, matches, 0.05, gallery=9)
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
    with pytest.raises(EmbeddingsError, match="every neighbour is of its query's class"):
        calibrate(impostors, impostors, owners, np.array([0.5]), np.array([1]), 0.1, gallery=9)


def _embedded(seed: int, classes: int = 60, images: int = 6, dim: int = 8) -> EmbeddingSet:
    """Classes of unequal spread about centres that are drawn at random."""
    draws = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), images)
    spread = draws.uniform(0.2, 0.6, classes)[labels][:, None]
    rows = draws.normal(size=(classes, dim))[labels] + spread * draws.normal(size=(len(labels), dim))
    return EmbeddingSet(rows.astype(np.float32), labels)


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()])
def test_embedded_images_are_each_searched_among_the_others(similarity, monkeypatch):
    monkeypatch.setattr("metricforge.evaluation.calibration.NUMBERS_AT_ONCE", 1000)  # several blocks
    images = _embedded(0)
    rows = images.embeddings.astype(np.float64)
    if isinstance(similarity, CosineSimilarity):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = rows @ rows.T
    else:
        scores = -np.sqrt(np.square(rows[:, None] - rows).sum(axis=2))
    same = images.labels[:, None] == images.labels
    np.fill_diagonal(scores, -np.inf)
    impostors = np.where(same, -np.inf, scores).max(axis=1)
    found = calibrate_embeddings(images, None, similarity, rate=0.05)
    assert (found.queries, found.classes, found.gallery) == (360, 60, 360)
    assert np.sum(impostors > found.threshold + 1e-5) == 18, "5 % of 360"
    nearest_is_own = np.take_along_axis(same, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert found.accepted == pytest.approx(np.mean(nearest_is_own & (scores.max(axis=1) >= found.threshold)), abs=1e-9)


def test_queries_are_searched_in_a_gallery_and_not_found_in_it_themselves():
    images = _embedded(1)
    queries = images.where(np.arange(len(images)) % 6 == 0)
    apart = images.where(np.arange(len(images)) % 6 != 0)
    whole = calibrate_embeddings(queries, images, CosineSimilarity(), rate=0.1)
    found = calibrate_embeddings(queries, apart, CosineSimilarity(), rate=0.1)
    assert (whole.gallery, found.gallery, found.queries) == (360, 300, 60)
    assert whole.accepted == found.accepted, "a query does not find itself"


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "rate"), [(10, 0.05), (60, 0.01), (60, 0.05)])
def test_the_rate_of_embedded_images_of_other_classes_lies_in_the_interval_in_95_of_100_splits(classes, rate):
    inside = 0
    for split in range(200):  # each of classes of its own
        images = _embedded(split, classes=2 * classes)
        known = images.labels < classes
        found = calibrate_embeddings(images.where(known), None, CosineSimilarity(), rate=rate)
        rows = images.where(~known).embeddings.astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        same = images.labels[~known][:, None] == images.labels[~known]
        impostors = np.where(same, -np.inf, rows @ rows.T).max(axis=1)
        inside += found.low <= np.mean(impostors >= found.threshold) <= found.high
    assert inside >= 190


def test_more_images_than_it_was_chosen_among_are_too_many():
    owners, impostors = _made_up(0)
    found = _calibrated(owners, impostors, 0.05)
    assert found.unfit_for(9) is None
    assert "among 9 images; among 10, more " in str(found.unfit_for(10))


@pytest.mark.parametrize(
    "damage", [dict(threshold="x"), dict(threshold=float("nan")), dict(scores=[1.0]), dict(rate=2), dict(gallery=None)]
)
def test_a_damaged_calibration_is_refused(damage):
    owners, impostors = _made_up(0)
    values = _calibrated(owners, impostors, 0.05).to_json()
    assert Calibration.from_json(values).to_json() == values
    with pytest.raises(ValueError, match="calibration is damaged"):
        Calibration.from_json({**values, **damage})
