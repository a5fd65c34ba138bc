"""The base of batch samplers: the same batches for the same seed and epoch, divided among the processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from metricforge.arrays import Array, Indices
from metricforge.functional.embedding_checks import check_count


class BatchSampler(Sampler[list[int]], ABC):
    """Yields lists of image indices, one list a batch, for ``DataLoader(batch_sampler=...)``.

    All processes draw the same global batches of ``batch_size`` images, and each takes its own ``batch_size /
    world_size`` of every one. What is drawn depends on the arguments and the epoch alone, so a resumed run sees
    what it would have seen. (One that chooses by embeddings as well is an ``EmbeddingBatchSampler``.)

    Args:
        labels: the class of each image (N,), integers.
        batch_size: images in a global batch, over all processes.
        seed: any integer >= 0; another one gives other batches.
        rank: which process this is, in 0..world_size-1.
        world_size: number of processes.

    Raises:
        ValueError: for labels that are empty or no integers, a batch size below 1 or not whole, a negative seed, a rank
            outside the world, or a batch size that the processes cannot share evenly.

    Examples:
        >>> class InOrder(BatchSampler):
        ...     def __len__(self):
        ...         return len(self.labels) // self.batch_size
        ...
        ...     def global_batches(self, generator):
        ...         for number in range(len(self)):
        ...             yield np.arange(self.batch_size) + number * self.batch_size
        >>> list(InOrder(labels=[0, 0, 1, 1], batch_size=2))
        [[0, 1], [2, 3]]
    """

    notes: tuple[str, ...] = ()  # what is to be said of how batches are drawn, a line each

    def __init__(
        self,
        labels: Sequence[int] | Array,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        given = np.asarray(labels)  # (N,)
        if given.ndim != 1 or len(given) == 0 or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(
                f"labels must be one integer for each of at least one image, got {given.dtype} of shape {given.shape}; "
                "number the classes, for example by np.unique(labels, return_inverse=True)[1]"
            )
        self.labels: Indices = given.astype(np.int64, copy=False)  # (N,)
        check_count("batch_size", batch_size)
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..world_size-1, got rank {rank} with world_size {world_size}")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size ({batch_size}) must be a multiple of world_size ({world_size}), so that every process has "
                f"as many images; try {batch_size + world_size - batch_size % world_size}"
            )
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (from 0) that the next ``iter()`` is for."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.global_batches(np.random.default_rng((self.seed, self.epoch))):
            share = len(batch) // self.world_size
            yield batch[self.rank * share : (self.rank + 1) * share].tolist()

    @abstractmethod
    def __len__(self) -> int:
        """Batches an epoch, the same for every process."""

    @abstractmethod
    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        """The epoch's batches of all processes together; the length of each is a multiple of ``world_size``."""
