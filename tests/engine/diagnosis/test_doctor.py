"""The doctor speaks where a bound is crossed for long enough, once, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.diagnosis.doctor import Doctor, RunFacts

RUN = RunFacts(updates=1000, epochs=10, dimensions=64, batch=128, workers=2, rate="0.001", resting={"loss": 0.2})
WELL = {
    "spread": 0.9, "effective_rank": 12.0, "active": 0.6, "weight_change": 1e-3, "waiting": 0.1, "loss": 0.12,
}  # fmt: skip


def kinds(doctor: Doctor, values: dict[str, float], readings: int = 3, seconds: float = 10.0) -> list[str]:
    said = [one.kind for _ in range(readings) for one in doctor.read(WELL | values, 2.0, seconds)]
    assert len(said) == len(set(said)), "each is said once"
    return said


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"spread": 0.009}, "collapse"),
        ({"effective_rank": 1.4}, "collapse"),
        ({"loss": 0.203}, "margin"),
        ({"active": 0.0}, "inactive"),
        ({"weight_change": 1e-7}, "rate"),
        ({"weight_change": 0.0}, "rate"),
        ({"waiting": 0.8}, "loader"),
    ],
)
def test_a_bound_that_is_crossed_in_every_reading_is_said_once(values, kind):
    assert kinds(Doctor(Bounds(readings=3), RUN), values, readings=6) == [kind]


def test_a_training_that_goes_well_is_left_alone():
    assert kinds(Doctor(Bounds(readings=1), RUN), {}, readings=6) == []


def test_too_few_readings_say_nothing():
    assert kinds(Doctor(Bounds(readings=3), RUN), {"spread": 0.0, "active": 0.0, "loss": 0.2}, readings=2) == []


def test_one_good_reading_begins_the_count_anew():
    doctor = Doctor(Bounds(readings=3), RUN)
    assert kinds(doctor, {"active": 0.0}, readings=2) == []
    assert kinds(doctor, {}, readings=1) == []
    assert kinds(doctor, {"active": 0.0}, readings=2) == []


def test_what_was_said_before_a_resume_is_not_said_again():
    doctor = Doctor(Bounds(readings=1), RUN, frozenset({"collapse"}))
    assert kinds(doctor, {"spread": 0.0, "active": 0.0}, readings=1) == ["inactive"]


@pytest.mark.parametrize("name", ["spread", "rank", "margin", "active", "movement", "waiting"])
def test_a_bound_of_none_switches_its_diagnosis_off(name):
    ill = {"spread": 0.0, "effective_rank": 1.0, "active": 0.0, "weight_change": 0.0, "waiting": 1.0, "loss": 0.2}
    off = {"spread": None, "rank": None} if name in ("spread", "rank") else {name: None}
    kind = {"spread": "collapse", "rank": "collapse", "active": "inactive", "movement": "rate", "waiting": "loader"}
    said = kinds(Doctor(Bounds(readings=1, **off), RUN), ill)
    assert len(said) == 4
    assert kind.get(name, name) not in said


def test_a_small_rank_means_nothing_in_few_dimensions_or_a_small_batch():
    for run in (replace(RUN, dimensions=4), replace(RUN, batch=16)):
        assert kinds(Doctor(Bounds(readings=1), run), {"effective_rank": 1.0}) == []


def test_a_learning_rate_is_not_judged_before_its_first_epoch_nor_by_the_end_of_its_schedule():
    doctor = Doctor(Bounds(readings=1), RUN)
    assert doctor.read(WELL | {"weight_change": 1e-9}, 0.5) == [], "still warming up"
    assert doctor.read(WELL, 0.9) == []
    assert doctor.read(WELL | {"weight_change": 1e-9}, 9.9) == [], "it has moved the weights before"


def test_a_short_wait_is_nobody_s_trouble():
    assert kinds(Doctor(Bounds(readings=1), RUN), {"waiting": 0.9}, readings=3, seconds=1.0) == []


def test_below_the_untrained_feature_counts_from_half_of_the_epochs_on():
    doctor = Doctor(Bounds(), RUN)
    assert doctor.validated("recall@1", 0.3, 0.5, 2, None, 10_000) == []
    assert [one.kind for one in doctor.validated("recall@1", 0.3, 0.5, 5, None, 10_000)] == ["untrained"]
    assert doctor.tested("recall@1", 0.3, {"raw pixels": 0.5}, 10_000) == [], "said already"
    assert Doctor(Bounds(), RUN).validated("recall@1", 0.5, 0.5, 5, None, 10_000) == []


def test_a_difference_that_a_few_images_make_by_chance_says_nothing():
    assert Doctor(Bounds(), RUN).validated("recall@1", 0.5, 0.75, 5, None, 12) == []
    assert Doctor(Bounds(), RUN).tested("recall@1", 0.5, {"raw pixels": 0.75}, 12) == []
    doctor = Doctor(Bounds(), RUN)
    assert doctor.validated("recall@1", 0.75, None, 5, (1.0, 0.5), 12) == []
    assert doctor.validated("recall@1", 0.55, None, 5, (1.0, 0.5), 12) == []


def test_the_test_names_the_best_of_the_baselines_that_are_better():
    (told,) = Doctor(Bounds(), RUN).tested("recall@1", 0.3, {"raw pixels": 0.4, "pool5": 0.6, "noise": 0.1}, 10_000)
    assert "'pool5'" in told.text
    assert "0.600" in told.text
    assert Doctor(Bounds(), RUN).tested("recall@1", 0.7, {"pool5": 0.6}, 10_000) == []


def test_a_gap_is_said_only_where_the_validation_falls():
    doctor = Doctor(Bounds(), RUN)
    assert doctor.validated("recall@1", 0.60, None, 1, (0.99, 0.50), 10_000) == [], "its best so far"
    assert doctor.validated("recall@1", 0.59, None, 2, (0.99, 0.50), 10_000) == [], "that may be chance"
    assert doctor.validated("recall@1", 0.50, None, 3, (0.99, 0.80), 10_000) == [], "a small gap"
    (told,) = doctor.validated("recall@1", 0.50, None, 4, (0.99, 0.50), 10_000)
    assert told.kind == "gap"
    assert "0.600 to 0.500" in told.text


def test_what_the_untrained_feature_scored_is_where_a_score_fell_from_too_once_half_of_the_epochs_are_done():
    doctor = Doctor(Bounds(untrained=None), RUN)
    assert doctor.validated("recall@1", 0.33, 0.60, 4, (0.99, 0.50), 10_000) == [], "it may still come"
    (told,) = doctor.validated("recall@1", 0.38, 0.60, 5, (0.99, 0.50), 10_000)
    assert told.kind == "gap"
    assert "from 0.600 of the untrained feature to 0.380" in told.text
    assert Doctor(Bounds(), RUN).validated("recall@1", 0.7, 0.6, 9, (0.99, 0.5), 10_000) == [], "it is above"


def test_proxies_without_images_count_from_half_of_the_epochs_on():
    doctor = Doctor(Bounds(), RUN)
    assert doctor.counted(20, 100, 1) == []
    assert doctor.counted(1, 100, 5) == [], "one per cent"
    assert [one.kind for one in doctor.counted(2, 100, 5)] == ["proxies"]


def test_doubtful_labels_are_said_with_their_images_above_the_bound():
    doctor = Doctor(Bounds(), RUN)
    assert doctor.doubted(("a.jpg",), 100) == []
    (told,) = doctor.doubted(("a.jpg", "b.jpg", "c.jpg"), 100)
    assert told.images == ("a.jpg", "b.jpg", "c.jpg")
    assert "3 of 100" in told.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(readings=0), "readings must be a whole number from 1 to .*, got 0"),
        (dict(readings=2**70), f"readings must be a whole number from 1 to .*, got {2**70}"),
        (dict(readings=True), "readings must be a whole number"),
        (dict(share=0), "share must be a number above 0, at most 1, got 0"),
        (dict(share=None), "share must be a number above 0"),
        (dict(spread=1.5), r"spread must be a number in 0..1, or None, got 1.5"),
        (dict(rank=0.5), "rank must be a number >= 1, or None, got 0.5"),
        (dict(waiting="half"), "waiting must be a number in 0..1, or None, got 'half'"),
        (dict(gap=float("nan")), "gap must be a number"),
    ],
)
def test_a_bound_outside_its_range_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        Bounds(**given)
