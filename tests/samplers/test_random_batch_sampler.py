from __future__ import annotations

import numpy as np
import pytest

from metricforge.samplers import RandomBatchSampler

LABELS = np.zeros(22, dtype=np.int64)


def batches(epoch=0, **arguments):
    sampler = RandomBatchSampler(LABELS, **dict(batch_size=4) | arguments)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def test_full_batches_without_repetition():
    drawn = batches()
    assert [len(batch) for batch in drawn] == [4] * 5
    assert len(set(np.concatenate(drawn).tolist())) == 20


def test_without_dropping_every_image_comes_once():
    drawn = batches(drop_last=False)
    assert [len(batch) for batch in drawn] == [4] * 5 + [2]
    assert sorted(np.concatenate(drawn)) == list(range(22))


def test_epochs_and_seeds_differ_and_repeat():
    assert batches(epoch=1, seed=2) == batches(epoch=1, seed=2)
    different = [batches(epoch=e, seed=s) for e in range(3) for s in range(3)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


@pytest.mark.parametrize("drop_last", [True, False])
def test_the_processes_together_draw_what_one_process_draws(drop_last):
    shares = [batches(rank=r, world_size=2, drop_last=drop_last) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == batches(drop_last=drop_last)


def test_a_last_batch_that_cannot_be_shared_is_filled_with_the_epochs_first_images():
    shares = [batches(batch_size=8, rank=r, world_size=4, drop_last=False) for r in range(4)]
    assert [len(share[-1]) for share in shares] == [2, 2, 2, 2]  # 6 images are left, 2 join them
    drawn = [i for number in range(3) for share in shares for i in share[number]]
    assert sorted(drawn[:22]) == list(range(22))
    assert drawn[22:] == drawn[:2]


def test_a_batch_larger_than_the_data_set_is_refused_with_a_way_out():
    with pytest.raises(
        ValueError, match=r"batch_size \(30\) is larger than the data set \(22 images\).*drop_last=False"
    ):
        batches(batch_size=30)
    assert [len(batch) for batch in batches(batch_size=30, drop_last=False)] == [22]


def test_a_batch_that_the_processes_cannot_share_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"batch_size \(5\) must be a multiple of world_size \(2\).*try 6"):
        batches(batch_size=5, world_size=2)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        batches(batch_size=0)
