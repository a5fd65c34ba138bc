"""DataLoaders whose every sample is seeded, and that skip seen batches without decoding them.

mmengine never tells a batch sampler of its own the epoch, repeats the same augmentations each epoch with non-persistent
workers, and resumes inside an epoch by decoding everything again (or not at all). Here a batch sampler yields keys
(index, what its seed follows from): which worker draws the sample, in which epoch of its life, no longer matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler as Batches
from torch.utils.data import DataLoader, Dataset

from metricforge.datasets import ImageDataset, ImageFileDataset
from metricforge.engine.loading.device_decoding import DeviceDecodingLoader
from metricforge.engine.loading.seeding import derive_seed, seed_host
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.samplers import BatchSampler

SampleKey = tuple[int, tuple[int, ...]]


class SeededDataset(Dataset[dict[str, Any]]):
    """``dataset`` asked by (index, parts of a seed): whatever its transforms draw follows from these alone.

    Args:
        dataset: what is asked.
        skip_unreadable: an image that cannot be read is no error, but gives way to the next one of its class that can,
            so that batches keep their classes and a resumed run its images.
    """

    def __init__(self, dataset: ImageDataset, skip_unreadable: bool = False) -> None:
        self.dataset = dataset
        self.skip_unreadable = skip_unreadable
        # Shared, for it is the workers who find out.
        self._unreadable = torch.zeros(len(dataset) if skip_unreadable else 0, dtype=torch.bool)
        self._unreadable.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[dict[str, Any]]:
        """What DataLoader asks for a batch.

        The seeds are derived in a worker, and not where the batches are drawn, for training waits for that; and one
        after the other, because the first after an image was decoded takes five times as long as the next.
        """
        seeds = [derive_seed(*parts) for _, parts in keys]
        return [self._item(index, seed) for (index, _), seed in zip(keys, seeds, strict=True)]

    def _item(self, index: int, seed: int) -> dict[str, Any]:
        seed_host(seed)
        try:
            item = self.dataset[index]
        except UnreadableImageError:
            if not self.skip_unreadable:
                raise
            return self._replacement(index, seed)
        return {**item, "seed": seed} if self.dataset.decodes_later else item

    def unreadable_images(self) -> list[str]:
        """Where the images lie that were skipped so far."""
        return [self.dataset.location(index) for index in self._unreadable.nonzero()[:, 0].tolist()]

    def _replacement(self, index: int, seed: int) -> dict[str, Any]:
        self._unreadable[index] = True
        label = self.dataset.labels[index]
        others = np.flatnonzero(self.dataset.labels == label)
        start = int(np.searchsorted(others, index))
        for other in np.roll(others, -start)[1:].tolist():
            seed_host(seed)
            try:
                return self.dataset[other]
            except UnreadableImageError:
                self._unreadable[other] = True
        raise DatasetError(
            f"none of the {len(others)} images of class {self.dataset.class_names[label]!r} can be read, such as "
            f"{self.dataset.location(index)}; take the class out of {self.dataset.name}"
        )


class SeededBatches:
    """A batch sampler's batches as (index, parts of its seed) keys, from the position where an epoch is to be taken up.

    Args:
        sampler: what is in each batch; told the epoch before each.
        seed: the run's seed.
    """

    def __init__(self, sampler: BatchSampler, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self._epoch = 0
        self._first = 0

    def set_position(self, epoch: int, first: int = 0) -> None:
        """Makes the next pass yield the batches of ``epoch`` from number ``first`` on."""
        self._epoch = epoch
        self._first = first
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for number, indices in enumerate(self.sampler):
            if number >= self._first:
                yield [(i, (self.seed, self._epoch, number, i)) for i in indices]


def build_train_loader(
    dataset: ImageDataset,
    sampler: BatchSampler,
    *,
    seed: int,
    num_workers: int,
    device: torch.device,
    skip_unreadable: bool = False,
) -> DataLoader[dict[str, Any]]:
    """Batches ``image`` (B, 3, H, W) uint8, ``label`` (B,), ``id`` (B,) in the order of ``sampler``."""
    return _loader(
        SeededDataset(dataset, skip_unreadable),
        dataset,
        device,
        batch_sampler=SeededBatches(sampler, seed),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def build_test_loader(
    dataset: ImageDataset,
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[dict[str, Any]]:
    """All images once, in their stored order, of which each process gets every ``world_size``-th batch.

    A batch is the same whoever has it, so embeddings do not depend on the number of processes, to the last bit.
    """
    batches = list(Batches(range(len(dataset)), batch_size, drop_last=False))
    return _loader(dataset, dataset, device, batch_sampler=batches[rank::world_size], num_workers=num_workers)


def _loader(
    asked: Dataset[dict[str, Any]], images: ImageDataset, device: torch.device, **loading: Any
) -> DataLoader[dict[str, Any]]:
    loading["worker_init_fn"] = _one_thread
    if images.decodes_later:
        assert isinstance(images, ImageFileDataset)
        return DeviceDecodingLoader(asked, images, device, **loading)  # decoders take what is on the host, unpinned
    return DataLoader(asked, pin_memory=device.type == "cuda", **loading)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
