"""Batches of a few groups, such as kinds of product, with some classes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from metricforge.arrays import Array, Indices
from metricforge.functional.embedding_checks import check_count
from metricforge.registry import SAMPLERS
from metricforge.samplers.batch_sampler import BatchSampler
from metricforge.samplers.shuffled_stream import ShuffledStream


@SAMPLERS.register_module()
class HierarchicalBatchSampler(BatchSampler):
    """Draw groups, then classes of each, then images of each class; a batch is ordered by group and by class.

    Classes of one group are alike, so its negatives are hard ones. Within an epoch no group is repeated before all
    others were drawn, no class before all others of its group were, and no image before all others of its class and
    group. Where a group has fewer classes than asked for, or a class fewer images, each is there and some are repeated.
    A class whose images are in several groups belongs, with those images, to each of them. With several processes each
    gets whole groups.

    Args:
        labels: the class of each image (N,), any integers.
        groups: the group of each image (N,), any integers; in a run these are the data set's.
        groups_per_batch: groups in a global batch, over all processes.
        classes_per_group: classes of each group in a batch; at least 2 for negatives within the group.
        samples_per_class: images of a class in a batch; at least 2 for a loss that needs positives.
        batches_per_epoch: by default the number of images divided by the batch size, rounded down, and at least 1.
        seed: see BatchSampler, as for the arguments that follow.

    Raises:
        ValueError: if there are no groups, for a count below 1 or not whole, more groups in a batch than there are, or
            a number of groups that the processes cannot share evenly; and see BatchSampler.
    """

    def __init__(
        self,
        labels: Sequence[int] | Array,
        groups: Sequence[int] | Array | None,
        groups_per_batch: int,
        classes_per_group: int,
        samples_per_class: int,
        batches_per_epoch: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        counts = {
            "groups_per_batch": groups_per_batch,
            "classes_per_group": classes_per_group,
            "samples_per_class": samples_per_class,
        }
        if batches_per_epoch is not None:
            counts["batches_per_epoch"] = batches_per_epoch
        for name, count in counts.items():
            check_count(name, count)
        if groups is None:
            raise ValueError(
                "groups: the data set has none above its classes; name a table's group column "
                '(columns=dict(group="kind")), or take ClassBalancedBatchSampler'
            )
        if world_size > 0 and groups_per_batch % world_size:
            raise ValueError(
                f"groups_per_batch ({groups_per_batch}) must be a multiple of world_size ({world_size}), because each "
                f"process gets whole groups; try {groups_per_batch + world_size - groups_per_batch % world_size}"
            )
        batch_size = groups_per_batch * classes_per_group * samples_per_class
        super().__init__(labels, batch_size, seed=seed, rank=rank, world_size=world_size)
        group_of_image = np.asarray(groups, dtype=np.int64)  # (N,)
        if group_of_image.shape != self.labels.shape:
            raise ValueError(
                f"groups must be one integer for each of the {len(self.labels)} images, got {group_of_image.shape}"
            )
        order = np.lexsort((self.labels, group_of_image))  # (N,), by group, then by class
        new_group = np.diff(group_of_image[order]) != 0
        new_class = new_group | (np.diff(self.labels[order]) != 0)
        self._images_of_class = np.split(order, np.flatnonzero(new_class) + 1)  # of a class within a group
        group_of_class = np.concatenate([[0], np.cumsum(new_group)[new_class]])
        self._classes_of_group = np.split(
            np.arange(len(group_of_class)), np.flatnonzero(np.diff(group_of_class)) + 1
        )  # G arrays of positions in _images_of_class
        if len(self._classes_of_group) < groups_per_batch:
            raise ValueError(
                f"groups_per_batch ({groups_per_batch}) is more than the {len(self._classes_of_group)} groups there "
                f"are; make it smaller, and classes_per_group ({classes_per_group}) larger"
            )
        self.groups_per_batch = groups_per_batch
        self.classes_per_group = classes_per_group
        self.samples_per_class = samples_per_class
        self.batches_per_epoch = batches_per_epoch or max(1, len(self.labels) // self.batch_size)

    def __len__(self) -> int:
        return self.batches_per_epoch

    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        groups = ShuffledStream(np.arange(len(self._classes_of_group)), generator)
        classes: dict[int, ShuffledStream] = {}
        images: dict[int, ShuffledStream] = {}
        for _ in range(self.batches_per_epoch):
            drawn = []
            for g in groups.take(self.groups_per_batch).tolist():
                if g not in classes:
                    classes[g] = ShuffledStream(self._classes_of_group[g], generator)
                chosen, times = np.unique(classes[g].take(self.classes_per_group), return_counts=True)
                for c, count in zip(chosen.tolist(), times.tolist(), strict=True):
                    if c not in images:
                        images[c] = ShuffledStream(self._images_of_class[c], generator)
                    # taken together, so that a class drawn twice gives different images while it has them
                    drawn.append(images[c].take(self.samples_per_class * count))
            yield np.concatenate(drawn)
