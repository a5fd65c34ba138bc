from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metricforge_lifted import DifficultNeighbourBatchSampler

from metricforge import SAMPLERS

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 5)) * 3 - 4
EMBEDDINGS = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32))


def make(labels=LABELS, embeddings=EMBEDDINGS, **arguments):
    sampler = DifficultNeighbourBatchSampler(labels, **dict(pairs_per_batch=4, neighbours_per_image=2) | arguments)
    if embeddings is not None:
        sampler.refresh(embeddings)
    return sampler


def batches(sampler, epoch):
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def brute_force_neighbours(labels, embeddings, pairs, each):
    """Of every end (2P, each): in turns, the nearest image of another class that is not in the batch, in float64."""
    rows = embeddings.double().numpy()
    ends = [image for pair in pairs for image in pair]
    batch, found = list(ends), [[] for _ in ends]
    for _ in range(each):
        for end, neighbours in zip(ends, found, strict=True):
            allowed = [i for i in range(len(labels)) if labels[i] != labels[end] and i not in batch]
            neighbours.append(min(allowed, key=lambda i: (((rows[i] - rows[end]) ** 2).sum(), i)))
            batch.append(neighbours[-1])
    return found


def test_a_hand_worked_batch_has_the_nearest_wrong_class_image_of_both_ends():
    # pair at 0 and 10: image 3 is nearest to both, then 2 to the first and 4 to the second; 5 is of their own class
    labels = [0, 0, 1, 2, 1, 0]
    embeddings = torch.tensor([[0.0], [10.0], [-8.0], [5.0], [16.0], [9.0]])
    sampler = make(labels, embeddings, pairs_per_batch=1, neighbours_per_image=1, batches_per_epoch=40)
    by_pair = {tuple(batch[:2]): batch[2:] for batch in batches(sampler, 0)}
    assert by_pair[0, 1] == [3, 4]
    assert by_pair[1, 0] == [3, 2]
    assert set(by_pair) == {(0, 1), (1, 0), (0, 5), (5, 0), (1, 5), (5, 1), (2, 4), (4, 2)}


@given(pairs=st.integers(1, 5), each=st.integers(1, 3), seed=st.integers(0, 99))
def test_neighbours_are_the_nearest_wrong_class_images_by_a_loop_in_float64(pairs, each, seed):
    embeddings = torch.from_numpy(np.random.default_rng(seed).normal(size=(60, 3)).round(1).astype(np.float32))
    sampler = make(embeddings=embeddings, pairs_per_batch=pairs, neighbours_per_image=each, seed=seed)
    for batch in batches(sampler, seed):
        assert len(batch) == sampler.batch_size == 2 * pairs * (1 + each)
        groups = np.array(batch).reshape(pairs, 2 + 2 * each)
        assert (LABELS[groups[:, 0]] == LABELS[groups[:, 1]]).all()
        expected = brute_force_neighbours(LABELS, embeddings, groups[:, :2].tolist(), each)
        assert groups[:, 2:].reshape(2 * pairs, each).tolist() == expected


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    pairs=st.integers(1, 6),
    each=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_whatever_is_not_refused_fills_every_batch_without_a_duplicate(sizes, pairs, each, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    embeddings = torch.zeros(len(labels), 2)  # all in one place: everyone wants the same neighbours
    try:
        sampler = make(labels, embeddings, pairs_per_batch=pairs, neighbours_per_image=each, seed=seed)
    except ValueError as error:
        assert "pairs_per_batch" in str(error)  # noqa: PT017
        return
    for batch in batches(sampler, 0):
        assert len(set(batch)) == len(batch) == sampler.batch_size


def test_positive_pairs_are_drawn_uniformly_among_all_of_the_data_set():
    labels = [0, 0, 0, 0, 1, 1, 2, 3, 4]  # 6 pairs and 1 pair; three images have no partner
    sampler = make(labels, torch.zeros(9, 1), pairs_per_batch=1, neighbours_per_image=1, batches_per_epoch=7000)
    seen = Counter(frozenset(batch[:2]) for batch in batches(sampler, 0))
    assert set(seen) == {frozenset(p) for p in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (4, 5)]}
    assert all(abs(count - 1000) < 6 * 1000**0.5 for count in seen.values())


def test_epochs_and_seeds_differ_and_repeat():
    assert batches(make(seed=7), 2) == batches(make(seed=7), 2)
    different = [batches(make(seed=s), e) for e in range(3) for s in range(3)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_processes_together_draw_what_one_process_draws(world_size):
    shares = [batches(make(rank=r, world_size=world_size), 1) for r in range(world_size)]
    together = [[i for part in parts for i in part] for parts in zip(*shares, strict=True)]
    assert together == batches(make(), 1)


def test_a_batch_that_passes_counts_from_the_next_epoch_on():
    told, untold = make(refresh_interval=9), make(refresh_interval=9)
    told.set_epoch(0)
    drawn = iter(told)
    first = [next(drawn)]
    told.observe(torch.arange(60), EMBEDDINGS.flip(0))
    assert first + list(drawn) == batches(untold, 0)
    assert list(told) == list(untold), "again in the same epoch"
    assert batches(told, 1) == batches(make(embeddings=EMBEDDINGS.flip(0)), 1)
    assert batches(told, 1) != batches(untold, 1)


def test_the_bank_is_refreshed_on_its_schedule():
    sampler = make(embeddings=None, refresh_interval=3)
    due = []
    for epoch in range(2, 9):
        sampler.set_epoch(epoch)
        if sampler.refresh_is_due():
            due.append(epoch)
            sampler.refresh(EMBEDDINGS)
        list(sampler)
        assert not sampler.refresh_is_due()
    assert due == [2, 3, 6], "at first whatever the epoch, then every third"


@pytest.mark.parametrize("taken_up_in", [4, 5])
def test_a_sampler_taken_up_within_an_epoch_goes_on_with_the_same_batches(taken_up_in):
    moved = EMBEDDINGS.roll(1, dims=0)
    one = make(refresh_interval=4)
    batches(one, 4)
    one.observe(torch.arange(30), moved[:30])
    whole = batches(one, taken_up_in)
    one.observe(torch.arange(30, 60), moved[30:])

    other = make(embeddings=None, refresh_interval=4)
    other.load_state_dict(one.state_dict())
    other.set_epoch(taken_up_in)
    assert not other.refresh_is_due()
    assert list(other) == whole
    assert batches(other, 6) == batches(one, 6) == batches(make(embeddings=moved), 6)


def test_states_do_not_share_memory():
    one, other = make(), make(embeddings=None)
    before = batches(one, 0)
    state = one.state_dict()
    other.load_state_dict(state)
    other.observe(torch.arange(60), EMBEDDINGS.flip(0))
    other.state_dict()
    assert batches(one, 0) == before
    assert batches(one, 1) == batches(make(), 1)


def test_batches_before_the_bank_is_filled_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"the bank is empty; .*refresh"):
        list(make(embeddings=None))


def test_a_bank_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match=r"each of the 60 images of the data set, got \(59, 4\)"):
        make(embeddings=EMBEDDINGS[:59])
    state = make(LABELS[:50], EMBEDDINGS[:50]).state_dict()
    with pytest.raises(ValueError, match="the state is of 50 images with other labels than the 60 of this data set"):
        make().load_state_dict(state)


def test_a_state_of_as_many_images_with_other_labels_is_refused():
    labels = LABELS.copy()
    labels[[0, 1]] = labels[[1, 0]]
    assert (labels != LABELS).any()
    with pytest.raises(ValueError, match=r"the state is of 60 images with other labels .* begin anew"):
        make().load_state_dict(make(labels).state_dict())


def test_a_state_of_other_arguments_is_refused():
    one = make(pairs_per_batch=2)
    list(one)
    with pytest.raises(ValueError, match=r"5 batches of 12 images an epoch, this sampler 2 of 24"):
        make().load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="lacks epoch, labels, bank, batches"):
        make().load_state_dict({})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(pairs_per_batch=0), "pairs_per_batch must be a whole number >= 1, got 0"),
        (dict(neighbours_per_image=0), "neighbours_per_image must be a whole number >= 1, got 0"),
        (dict(refresh_interval=0), "refresh_interval must be a whole number >= 1, got 0"),
        (dict(batches_per_epoch=0), "batches_per_epoch must be a whole number >= 1, got 0"),
        (dict(pairs_per_batch=3, world_size=2), r"pairs_per_batch \(3\) must be a multiple of world_size \(2\).*try 4"),
        (dict(pairs_per_batch=25), r"pairs_per_batch \(25\) is more than the 24 positive pairs"),
        (dict(labels=np.arange(60)), "more than the 0 positive pairs"),
        (
            dict(neighbours_per_image=7),
            "needs 62 or more images of other classes.* leaves 55 of 60",
        ),
        (dict(rank=1), "rank must be in"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_config_builds_it():
    cfg = dict(type="DifficultNeighbourBatchSampler", pairs_per_batch=4, neighbours_per_image=2)
    built = SAMPLERS.build(cfg, labels=LABELS, seed=3)
    built.refresh(EMBEDDINGS)
    assert batches(built, 0) == batches(make(seed=3), 0)
