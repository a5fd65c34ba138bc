"""Labels that no batch agrees with are found, and hits within a batch are those of a loop."""

from __future__ import annotations

import math

import numpy as np
import torch

from metricforge.engine.diagnosis.batch_recall import BatchRecall
from metricforge.engine.diagnosis.label_watch import LabelWatch, nearest_is_match
from metricforge.structures import EmbeddingSet


def by_a_loop(rows: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> list[float]:
    hits = []
    for one in range(len(rows)):
        others = [other for other in range(len(rows)) if ids[other] != ids[one]]
        if not any(labels[other] == labels[one] for other in others):
            hits.append(math.nan)
            continue
        nearest = min(others, key=lambda other: float((rows[one].double() - rows[other].double()).norm()))
        hits.append(float(labels[nearest] == labels[one]))
    return hits


def test_hits_are_those_of_a_loop_and_an_image_is_not_its_own_neighbour():
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(24, 5, generator=generator), torch.randint(6, (24,), generator=generator)
    ids = torch.arange(24)
    ids[3] = ids[2]  # the same image twice
    labels[3], rows[3] = labels[2], rows[2] + 1e-3
    labels[7] = 99  # alone
    found = nearest_is_match(rows, labels, ids)
    np.testing.assert_array_equal(found.numpy(), by_a_loop(rows, labels, ids))
    assert math.isnan(found[7])
    assert nearest_is_match(rows, labels)[2] == 1, "without ids it is another image"


def watched(wrong: list[int], noise: float, looks: int = 20) -> tuple[list[int], int]:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(10), 12)
    centres = rng.normal(size=(10, 16))
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 10
    watch = LabelWatch(labels)
    for _ in range(looks):
        ids = rng.permutation(120)[:60]
        rows = torch.from_numpy(centres[truth[ids]] + noise * rng.normal(size=(60, 16))).float()
        watch.look(torch.from_numpy(ids), nearest_is_match(rows, torch.from_numpy(labels[ids])))
    found, known = watch.doubtful()
    return found.tolist(), known


def test_images_under_a_wrong_label_are_found_and_no_other():
    wrong = [5, 40, 41, 77, 110]
    assert sorted(watched(wrong, 0.3)[0]) == wrong


def test_no_label_is_doubted_where_all_are_right_or_where_no_class_is_learned():
    assert watched([], 0.3)[0] == []
    assert watched([5, 40], 10.0)[0] == [], "classmates are nowhere near either"


def test_an_image_that_may_look_wrong_by_chance_is_looked_at_again_first():
    watch = LabelWatch(np.repeat(np.arange(20), 20))
    ids = torch.arange(400)
    hits = torch.ones(400).reshape(20, 20)
    hits[:, ::4] = 0  # three of four classmates are hit
    for look in range(24):
        its = hits.roll(look, dims=1).reshape(400).clone()
        its[0] = float(look % 6 == 0)
        watch.look(ids, its)
        found, known = watch.doubtful()
        assert known == (400 if look >= 5 else 0)
        if look == 5:
            assert found.tolist() == [], "one of 6, which at 3 in 4 happens to one in 215: to two of 400"
    assert found.tolist() == [0], "four of 24"


def test_nothing_is_known_before_an_image_was_seen_often():
    assert watched([5, 40], 0.3, looks=2) == ([], 0)


def test_recall_in_batches_is_one_for_apart_and_chance_for_mixed_classes():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 4)
    apart = np.eye(8)[labels] + 0.01 * rng.normal(size=(32, 8))
    recall = BatchRecall()
    recall.note(torch.from_numpy(apart), torch.from_numpy(labels))
    of_validation = np.repeat(np.arange(6), 10)
    mixed = EmbeddingSet(rng.normal(size=(60, 8)).astype(np.float32), of_validation)
    found = recall.compare(mixed, seed=0)
    assert found is not None
    assert found[0] == 1
    # of 23 others 3 are of the same class: 8 batches of 24 images each
    assert abs(found[1] - 3 / 23) < 4 * math.sqrt(3 / 23 * 20 / 23 / 192)


def test_batches_without_two_of_a_class_do_not_compare():
    recall = BatchRecall()
    assert recall.compare(EmbeddingSet(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 1])), 0) is None
    recall.note(torch.eye(4), torch.arange(4))
    assert recall.compare(EmbeddingSet(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 1])), 0) is None
