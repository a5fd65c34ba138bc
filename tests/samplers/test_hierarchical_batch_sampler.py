from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricforge import build_runner
from metricforge.errors import ConfigError
from metricforge.samplers import HierarchicalBatchSampler

LABELS = np.repeat(np.arange(12), 6)  # 12 classes of 6 images
GROUPS = LABELS // 3 * 10  # 4 groups of 3 classes
ARGUMENTS = dict(groups_per_batch=2, classes_per_group=2, samples_per_class=3)


def batches(epoch=0, labels=LABELS, groups=GROUPS, **arguments):
    sampler = HierarchicalBatchSampler(labels, groups, **ARGUMENTS | arguments)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def test_a_batch_is_so_many_groups_of_so_many_classes_of_so_many_images():
    drawn = batches()
    assert len(drawn) == 72 // 12
    for batch in drawn:
        assert len(set(batch)) == 12
        assert sorted(Counter(GROUPS[batch].tolist()).values()) == [6, 6]
        assert sorted(Counter(LABELS[batch].tolist()).values()) == [3, 3, 3, 3]


def test_nothing_comes_again_before_all_its_siblings_came():
    stream = np.concatenate(batches(samples_per_class=1, batches_per_epoch=36))
    groups = GROUPS[stream[::2]]  # two classes of a group stand side by side
    for start in range(0, len(groups), 4):
        assert len(set(groups[start : start + 4].tolist())) == 4
    for group in set(GROUPS.tolist()):
        classes = LABELS[stream[GROUPS[stream] == group]]
        for start in range(0, len(classes), 6):  # three takes of two are every class twice
            assert set(Counter(classes[start : start + 6].tolist()).values()) == {2}
    for label in range(12):
        images = stream[LABELS[stream] == label]
        assert len(set(images[:6].tolist())) == 6


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40),
    classes_per_group=st.integers(1, 4),
    samples_per_class=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_few_classes_or_images_are_repeated_and_no_batch_falls_short(pairs, classes_per_group, samples_per_class, seed):
    groups, labels = (np.array(column) for column in zip(*pairs, strict=True))
    groups_per_batch = len(set(groups.tolist()))
    for batch in batches(
        labels=labels,
        groups=groups,
        groups_per_batch=groups_per_batch,
        classes_per_group=classes_per_group,
        samples_per_class=samples_per_class,
        batches_per_epoch=3,
        seed=seed,
    ):
        assert len(batch) == groups_per_batch * classes_per_group * samples_per_class
        for group in set(groups.tolist()):
            drawn = [i for i in batch if groups[i] == group]
            assert len(drawn) == classes_per_group * samples_per_class
            there = len(set(labels[groups == group].tolist()))
            assert len({labels[i] for i in drawn}) == min(classes_per_group, there)


def test_epochs_and_seeds_differ_and_repeat():
    assert batches(epoch=2, seed=7) == batches(epoch=2, seed=7)
    different = [batches(epoch=e, seed=s) for e in range(3) for s in range(3)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


def test_the_processes_together_draw_what_one_process_draws_and_each_has_whole_groups():
    shares = [batches(rank=r, world_size=2) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == batches()
    assert all(len(set(GROUPS[batch].tolist())) == 1 for batch in chain(*shares))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(groups=None), "groups: the data set has none .* take ClassBalancedBatchSampler"),
        (dict(groups=[1, 2]), r"groups must be one integer for each of the 72 images, got \(2,\)"),
        (dict(groups_per_batch=5), r"groups_per_batch \(5\) is more than the 4 groups there are"),
        (dict(groups_per_batch=3, world_size=2), r"groups_per_batch \(3\) must be a multiple .* try 4"),
        (dict(classes_per_group=0), "classes_per_group must be a whole number >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(arguments, said):
    with pytest.raises(ValueError, match=said):
        batches(**arguments)


def test_a_config_needs_no_groups_and_a_data_set_without_them_is_told(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["sampler"] = dict(
        type="HierarchicalBatchSampler", groups_per_batch=1, classes_per_group=2, samples_per_class=2
    )
    with pytest.raises(ConfigError, match=r"train_dataloader.sampler: groups: the data set has none"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
