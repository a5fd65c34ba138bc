"""DataLoaders whose every sample is seeded, and that skip seen batches without decoding them.

mmengine never tells a custom batch sampler the epoch, repeats the same augmentations each epoch with non-persistent
workers, and resumes within an epoch by decoding everything again (or not at all). Here a batch sampler yields keys
(index, parts of the seed), so that it does not matter which worker loads a sample, or how old that worker is.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler as Batches
from torch.utils.data import DataLoader, Dataset

from metricforge.datasets import ImageDataset, ImageFileDataset, VectorDataset
from metricforge.engine.loading.device_decoding import DeviceDecodingLoader
from metricforge.engine.loading.seeding import derive_seed, seed_host
from metricforge.engine.loading.worker_sockets import check_worker_sockets
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.samplers import BatchSampler

GRACE_SECONDS = 20.0  # that a worker outlives a request to end, so that the update at hand can be finished
SampleKey = tuple[int, tuple[int, ...]]


class SeededDataset(Dataset[dict[str, Any]]):
    """``dataset`` indexed by (index, parts of a seed), which alone determine what its transforms draw.

    Args:
        dataset: the images.
        skip_unreadable: replace an image that cannot be read by the next readable one of its class, so that batches
            keep their classes and a resumed run its images; otherwise it is an error.
    """

    def __init__(self, dataset: ImageDataset, skip_unreadable: bool = False) -> None:
        self.dataset = dataset
        self.skip_unreadable = skip_unreadable
        # Shared memory, because the workers fill it.
        self._unreadable = torch.zeros(len(dataset) if skip_unreadable else 0, dtype=torch.bool)
        self._unreadable.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        (index, parts) = key
        return self._item(index, derive_seed(*parts))

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[dict[str, Any]] | dict[str, torch.Tensor]:
        """Load the samples of a batch, or of vectors the batch at once; DataLoader calls it.

        The seeds are derived in the worker, because training would wait for them where the batches are drawn; and all
        at once, because the first after an image was decoded takes five times as long as the next.
        """
        if isinstance(self.dataset, VectorDataset):
            return self.dataset.__getitems__([index for index, _ in keys])
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
        """The locations of the images skipped so far."""
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
            f"{self.dataset.location(index)}; remove the class from {self.dataset.name}"
        )


class SeededBatches:
    """The batches of ``sampler`` as keys (index, parts of its seed), from any position of an epoch on.

    Args:
        sampler: chooses the batches; told the epoch before each one.
        seed: the run's seed.
    """

    def __init__(self, sampler: BatchSampler, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self._epoch = 0
        self._first = 0

    def set_position(self, epoch: int, first: int = 0) -> None:
        """Let the next pass yield the batches of ``epoch`` from number ``first`` on."""
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
    """Load all images once in stored order; each process gets every ``world_size``-th batch.

    The batches are the same for any number of processes, and so are the embeddings, bit for bit.
    """
    batches = list(Batches(range(len(dataset)), batch_size, drop_last=False))
    return _loader(dataset, dataset, device, batch_sampler=batches[rank::world_size], num_workers=num_workers)


def release_workers(loader: DataLoader[Any]) -> None:
    """End the processes that read for ``loader``, which live on between epochs; another pass starts new ones."""
    loader._iterator = None


def _loader(
    asked: Dataset[dict[str, Any]], images: ImageDataset, device: torch.device, **loading: Any
) -> DataLoader[dict[str, Any]]:
    check_worker_sockets(loading.get("num_workers", 0))
    loading["worker_init_fn"] = _begin_worker
    if isinstance(images, VectorDataset):
        loading["collate_fn"] = _as_it_is  # its batches come whole
    if images.decodes_later:
        assert isinstance(images, ImageFileDataset)
        return DeviceDecodingLoader(asked, images, device, **loading)  # decoders take unpinned host memory
    return DataLoader(asked, pin_memory=device.type == "cuda", **loading)


def _as_it_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch


def _begin_worker(worker: int) -> None:
    """Compute in one thread, and leave signals to the process that trains, which gets them too.

    Whoever ends a training often signals all of its processes. A worker that died of it would fail the update that is
    to be finished. Without its parent a worker ends by itself.
    """
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_workers() -> None:
    """End the workers that are left when this process ends, which would wait out their grace otherwise."""
    left = [process for process in multiprocessing.active_children() if process.daemon]
    if left and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes a worker that ends so for a failure
    for process in left:
        process.kill()


atexit.register(_end_workers)  # and run before what multiprocessing.util registered


def _end_later(number: int, frame: FrameType | None) -> None:
    timer = threading.Timer(GRACE_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
