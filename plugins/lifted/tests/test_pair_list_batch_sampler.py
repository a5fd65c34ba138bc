from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from metricforge_lifted import PairListBatchSampler

from metricforge import SAMPLERS

LABELS = np.array([4, -1, 4, 7, -1, 4, 9])  # 3 + 1 positive pairs, 17 negative ones


def pairs_of(epochs=1, labels=LABELS, **arguments):
    """Of each batch of so many epochs its pairs, the smaller index first."""
    sampler = PairListBatchSampler(labels, **dict(pairs_per_batch=2, batches_per_epoch=4) | arguments)
    drawn = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        drawn += [[tuple(sorted(batch[i : i + 2])) for i in range(0, len(batch), 2)] for batch in batches]
    return drawn


def flat(batches):
    return [pair for batch in batches for pair in batch]


def test_every_positive_pair_is_listed_once_and_as_many_negative_pairs():
    listed = flat(pairs_of())  # 4 batches of 2: the whole list
    positive = [pair for pair in listed if LABELS[pair[0]] == LABELS[pair[1]]]
    assert sorted(positive) == [(i, j) for i, j in combinations(range(7), 2) if LABELS[i] == LABELS[j]]
    assert len(listed) == 2 * len(positive)


@pytest.mark.parametrize(("ratio", "negatives"), [(0.5, 2), (2, 8), (0.01, 1)])
def test_the_share_of_negative_pairs_is_an_option(ratio, negatives):
    listed = flat(pairs_of(pairs_per_batch=4 + negatives, batches_per_epoch=1, negatives_per_positive=ratio))
    assert sum(LABELS[i] != LABELS[j] for i, j in listed) == negatives


def test_negative_pairs_are_as_likely_as_each_other():
    listed = flat(pairs_of(pairs_per_batch=17_000 * 4, batches_per_epoch=1, negatives_per_positive=17_000 - 1))
    counts = Counter(pair for pair in listed if LABELS[pair[0]] != LABELS[pair[1]])
    assert set(counts) == {(i, j) for i, j in combinations(range(7), 2) if LABELS[i] != LABELS[j]}
    assert all(abs(count - 4000) < 5 * 4000**0.5 for count in counts.values())  # five standard deviations


def test_an_epoch_goes_on_where_the_last_one_ended_and_the_list_begins_again_in_the_same_order():
    whole = flat(pairs_of())
    assert flat(pairs_of(epochs=3, pairs_per_batch=3, batches_per_epoch=2)) == (whole * 3)[:18]


def test_what_a_resumed_run_draws_depends_on_seed_and_epoch_alone():
    sampler = PairListBatchSampler(LABELS, pairs_per_batch=1, batches_per_epoch=2, seed=5)
    sampler.set_epoch(2)
    assert [tuple(sorted(batch)) for batch in sampler] == flat(
        pairs_of(epochs=3, pairs_per_batch=1, batches_per_epoch=2, seed=5)
    )[4:]


def test_seeds_shuffle_differently_and_pairs_stand_in_no_order_of_their_kind():
    orders = [flat(pairs_of(seed=seed)) for seed in range(8)]
    assert len({tuple(order) for order in orders}) == 8
    assert len({tuple(LABELS[i] == LABELS[j] for i, j in order) for order in orders}) > 4


def test_the_processes_together_draw_what_one_process_draws_and_each_gets_whole_pairs():
    shares = [pairs_of(rank=rank, world_size=2) for rank in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == pairs_of()


def test_an_epoch_is_as_long_as_the_data_set_by_default():
    assert len(PairListBatchSampler(np.arange(100) // 5, pairs_per_batch=4)) == 12
    assert len(PairListBatchSampler(LABELS, pairs_per_batch=40)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(pairs_per_batch=0), "pairs_per_batch must be a whole number >= 1, got 0"),
        (dict(batches_per_epoch=1.5), "batches_per_epoch must be a whole number >= 1, got 1.5"),
        (dict(negatives_per_positive=0), "negatives_per_positive must be a number > 0, got 0"),
        (dict(pairs_per_batch=3, world_size=2), r"pairs_per_batch \(3\) must be a multiple of world_size \(2\).*try 4"),
        (dict(labels=[0, 1, 2]), "labels must have a class of two images .* got 3 images of 3 classes"),
        (dict(labels=[5, 5, 5]), "labels must have a class of two images .* got 3 images of 1 classes"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        pairs_of(**arguments)


def test_a_config_builds_it():
    built = SAMPLERS.build(dict(type="PairListBatchSampler", pairs_per_batch=2), labels=LABELS, seed=3)
    assert [tuple(sorted(pair)) for batch in built for pair in np.reshape(batch, (2, 2)).tolist()] == flat(
        pairs_of(seed=3, batches_per_epoch=1)
    )
