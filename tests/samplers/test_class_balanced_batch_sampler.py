from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricforge.registry import SAMPLERS
from metricforge.samplers import ClassBalancedBatchSampler

LABELS = np.repeat(np.arange(10), 8)  # 10 classes of 8 images


def batches(epoch=0, labels=LABELS, **arguments):
    sampler = ClassBalancedBatchSampler(labels, **dict(classes_per_batch=4, samples_per_class=2) | arguments)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    classes_per_batch=st.integers(1, 8),
    samples_per_class=st.integers(1, 6),
    seed=st.integers(0, 5),
)
def test_every_batch_is_so_many_classes_with_so_many_images_each(sizes, classes_per_batch, samples_per_class, seed):
    classes_per_batch = min(classes_per_batch, len(sizes))
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for batch in batches(
        labels=labels,
        classes_per_batch=classes_per_batch,
        samples_per_class=samples_per_class,
        batches_per_epoch=7,
        seed=seed,
    ):
        by_class = {c: [i for i in batch if labels[i] == c] for c in set(labels[batch].tolist())}
        assert len(by_class) == classes_per_batch
        for c, images in by_class.items():
            assert len(images) == samples_per_class
            assert len(set(images)) == min(samples_per_class, sizes[c])


@given(classes_per_batch=st.integers(1, 7), seed=st.integers(0, 5))
def test_no_class_comes_again_before_all_others_came(classes_per_batch, seed):
    labels = np.repeat(np.arange(7), 3)
    drawn = batches(
        labels=labels, classes_per_batch=classes_per_batch, samples_per_class=1, batches_per_epoch=12, seed=seed
    )
    stream = labels[np.concatenate(drawn)]
    for start in range(0, len(stream) - 6, 7):
        assert sorted(stream[start : start + 7]) == list(range(7))


@given(size=st.integers(2, 11), samples_per_class=st.integers(1, 11), seed=st.integers(0, 5))
def test_no_image_comes_again_before_all_others_of_its_class_came(size, samples_per_class, seed):
    samples_per_class = min(samples_per_class, size)
    labels = np.repeat([0, 1], size)
    drawn = np.concatenate(
        batches(
            labels=labels,
            classes_per_batch=2,
            samples_per_class=samples_per_class,
            batches_per_epoch=15,
            seed=seed,
        )
    )
    stream = drawn[labels[drawn] == 0]
    for start in range(0, len(stream) - size + 1, size):
        assert sorted(stream[start : start + size]) == list(range(size))


def test_an_epoch_is_about_once_through_the_images():
    assert len(batches()) == 80 // 8
    assert sorted(np.concatenate(batches(classes_per_batch=5))) == list(range(80))
    assert len(batches(labels=[0, 1, 2], classes_per_batch=3)) == 1
    assert len(batches(batches_per_epoch=3)) == 3


def test_epochs_differ_and_the_same_seed_gives_the_same_batches():
    assert batches(epoch=2, seed=7) == batches(epoch=2, seed=7)
    different = [batches(epoch=e, seed=s) for e in range(3) for s in range(3)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


def test_iterating_twice_in_one_epoch_gives_the_same_batches():
    sampler = ClassBalancedBatchSampler(LABELS, 4, 2)
    assert list(sampler) == list(sampler)


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_processes_together_draw_what_one_process_draws(world_size):
    shares = [batches(rank=r, world_size=world_size) for r in range(world_size)]
    together = [[i for part in parts for i in part] for parts in zip(*shares, strict=True)]
    assert together == batches()


def test_each_process_gets_whole_classes():
    for batch in batches(rank=1, world_size=2):
        assert sorted(Counter(LABELS[batch].tolist()).values()) == [2, 2]


def test_a_class_with_too_few_images_is_repeated_evenly():
    labels = [0, 0, 0, 1, 1]
    for batch in batches(labels=labels, classes_per_batch=2, samples_per_class=5, batches_per_epoch=6):
        counts = Counter(batch)
        assert set(counts) == {0, 1, 2, 3, 4}
        assert all(1 <= counts[i] <= 2 for i in (0, 1, 2))
        assert all(2 <= counts[i] <= 3 for i in (3, 4))


def test_labels_need_not_be_contiguous():
    labels = np.array([-5, 900, -5, 900, 7, 7])
    for batch in batches(labels=labels, classes_per_batch=2, batches_per_epoch=5):
        assert sorted(Counter(labels[batch].tolist()).values()) == [2, 2]


def test_indices_are_plain_ints():
    assert all(type(i) is int for i in batches()[0])


def test_more_classes_than_there_are_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"classes_per_batch \(12\) is more than the 10 classes .* try 10"):
        batches(classes_per_batch=12)


def test_classes_that_the_processes_cannot_share_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"classes_per_batch \(3\) must be a multiple of world_size \(2\).* try 4"):
        batches(classes_per_batch=3, world_size=2)


@pytest.mark.parametrize("name", ["classes_per_batch", "samples_per_class", "batches_per_epoch"])
@pytest.mark.parametrize("wrong", [0, 2.5, math.nan, "2"])
def test_counts_below_1_or_not_whole_are_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1, got {wrong!r}"):
        batches(**{name: wrong})


@pytest.mark.parametrize("labels", [[0.5, 0.5, 1.5], [math.nan] * 3, ["cat", "cat", "dog"], [True, False, True]])
def test_labels_that_are_not_integers_are_refused_with_a_way_out(labels):
    with pytest.raises(ValueError, match=r"labels must be one integer .* got .* of shape \(3,\); number the classes"):
        ClassBalancedBatchSampler(labels, classes_per_batch=1, samples_per_class=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(rank=2, world_size=2), "rank must be in"),
        (dict(world_size=0), "rank must be in"),
        (dict(seed=-1), "seed must be at least 0"),
        (dict(labels=[]), "at least one image"),
        (dict(epoch=-1), "epoch must be at least 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(**arguments)


def test_a_million_images_are_drawn_in_seconds():
    labels = np.arange(1_000_000) % 10_000
    start = time.process_time()
    sampler = ClassBalancedBatchSampler(labels, 64, 4, batches_per_epoch=400)
    assert len(list(sampler)) == 400
    assert time.process_time() - start < 10


def test_a_config_builds_it():
    cfg = dict(type="ClassBalancedBatchSampler", classes_per_batch=4, samples_per_class=2)
    assert list(SAMPLERS.build(cfg, labels=LABELS, seed=3)) == batches(seed=3)


def test_independent_classes_differ_within_a_batch_and_ignore_the_batches_before():
    drawn = batches(independent_classes=True, classes_per_batch=5, samples_per_class=1, batches_per_epoch=400)
    classes = [LABELS[batch].tolist() for batch in drawn]
    assert all(len(set(batch)) == 5 for batch in classes)
    # 5 of 10: the next batch shares none with this one in 1 of 252 cases, where without repetition every second would
    disjoint = sum(not set(a) & set(b) for a, b in zip(classes[::2], classes[1::2], strict=True))
    assert disjoint < 10
    counts = Counter(c for batch in classes for c in batch)
    assert all(150 < counts[c] < 250 for c in range(10))  # 200 expected, with a deviation of 10


def test_with_replacement_every_image_is_drawn_anew():
    drawn = batches(replacement=True, classes_per_batch=10, samples_per_class=4, batches_per_epoch=200)
    groups = [group for batch in drawn for group in np.array(batch).reshape(10, 4)]
    assert all(len(set(LABELS[group])) == 1 for group in groups)
    # four of eight are all different in 8*7*6*5 / 8**4 = 41 % of the cases
    assert np.mean([len(set(group.tolist())) == 4 for group in groups]) == pytest.approx(0.41, abs=0.05)


@pytest.mark.parametrize("options", [dict(independent_classes=True), dict(replacement=True)])
def test_drawn_anew_they_are_still_seeded_varied_by_epoch_and_shared_out(options):
    assert batches(epoch=2, seed=7, **options) == batches(epoch=2, seed=7, **options)
    assert batches(epoch=1, **options) != batches(epoch=0, **options)
    shares = [batches(rank=r, world_size=2, **options) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == batches(**options)


def test_fewer_classes_are_all_taken_and_told_where_that_is_asked_for():
    labels = np.repeat(np.arange(6), 20)
    with pytest.raises(ValueError, match='or fewer_classes="all"'):
        ClassBalancedBatchSampler(labels, 16, 4)
    sampler = ClassBalancedBatchSampler(labels, 16, 4, fewer_classes="all")
    batch = labels[next(iter(sampler))]
    assert np.bincount(batch).tolist() == [10] * 6
    assert sampler.notes == (
        "there are 6 classes to train on, so batches have 6 classes with 10 images each instead of 16 with 4",
    )
    few = ClassBalancedBatchSampler(np.repeat(np.arange(3), 5), 16, 4, fewer_classes="all")
    assert (few.classes_per_batch, few.samples_per_class) == (3, 5), "an image is not repeated to fill a batch"
    assert (
        ClassBalancedBatchSampler(np.repeat(np.arange(5), 9), 8, 2, fewer_classes="all", world_size=2).batch_size == 16
    )
    enough = ClassBalancedBatchSampler(np.repeat(np.arange(16), 4), 16, 4, fewer_classes="all")
    assert (enough.classes_per_batch, enough.samples_per_class, enough.notes) == (16, 4, ())
    with pytest.raises(ValueError, match='fewer_classes must be "error" or "all", got \'take\''):
        ClassBalancedBatchSampler(labels, 4, 4, fewer_classes="take")
