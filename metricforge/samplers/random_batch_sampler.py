"""Batches of shuffled images, regardless of class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from metricforge.arrays import Array, Indices
from metricforge.registry import SAMPLERS
from metricforge.samplers.batch_sampler import BatchSampler


@SAMPLERS.register_module()
class RandomBatchSampler(BatchSampler):
    """Every image once per epoch, in a new order each time.

    Args:
        labels: the class of each image (N,); only their number counts.
        batch_size: images in a global batch, over all processes.
        drop_last: whether the images that do not fill a batch are left out of the epoch. If not, they form a smaller
            last batch, completed by the epoch's first images where the processes could not share it evenly.
        seed: see BatchSampler, as for the arguments that follow.

    Raises:
        ValueError: if there are fewer images than a batch has and the rest is dropped, and see BatchSampler.
    """

    def __init__(
        self,
        labels: Sequence[int] | Array,
        batch_size: int,
        drop_last: bool = True,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(labels, batch_size, seed=seed, rank=rank, world_size=world_size)
        self.drop_last = drop_last
        if drop_last and len(self.labels) < batch_size:
            raise ValueError(
                f"batch_size ({batch_size}) is larger than the data set ({len(self.labels)} images), so no batch would "
                "be full; make it smaller, or set drop_last=False"
            )

    def __len__(self) -> int:
        count = len(self.labels)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        order = generator.permutation(len(self.labels))  # (N,)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            lacking = -len(batch) % self.world_size
            yield np.concatenate([batch, np.resize(order, lacking)])
