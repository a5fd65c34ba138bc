"""Batches of a fixed number of classes with a fixed number of images each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from metricforge.arrays import Array, Indices
from metricforge.functional.embedding_checks import check_count
from metricforge.registry import SAMPLERS
from metricforge.samplers.batch_sampler import BatchSampler
from metricforge.samplers.shuffled_stream import ShuffledStream


@SAMPLERS.register_module()
class ClassBalancedBatchSampler(BatchSampler):
    """``classes_per_batch`` different classes in a batch, with ``samples_per_class`` images of each, class by class.

    Within an epoch no class is repeated before all others were drawn, and no image before all others of its class
    were. The images of a class in one batch are different, unless the class has fewer than ``samples_per_class``:
    then each of them is there, and some are repeated. With several processes each gets whole classes.

    ``independent_classes`` and ``replacement`` drop the first and the second of these guarantees, for comparison with
    works that sample this way: each batch then draws its classes, or each image is drawn, independently.

    Args:
        labels: the class of each image (N,), any integers.
        classes_per_batch: classes in a global batch, over all processes; at least 2 for a loss that needs negatives.
        samples_per_class: images of a class in a batch; at least 2 for a loss that needs positives.
        batches_per_epoch: by default the number of images divided by the batch size, rounded down, and at least 1.
        independent_classes: whether each batch draws its classes, all different, from all classes anew.
        replacement: whether each image is drawn from all of its class anew, so that one may come twice in a batch.
        fewer_classes: what becomes of fewer classes than ``classes_per_batch``. "all": each batch has all of them, and
            as many more images of each as keep its size, but no more than the largest class has.
        seed: see BatchSampler, as for the arguments that follow.

    Raises:
        ValueError: for a count below 1 or not whole, more classes in a batch than there are (unless ``fewer_classes``
            is "all"), or a number of classes that the processes cannot share evenly; and see BatchSampler.
    """

    def __init__(
        self,
        labels: Sequence[int] | Array,
        classes_per_batch: int,
        samples_per_class: int,
        batches_per_epoch: int | None = None,
        independent_classes: bool = False,
        replacement: bool = False,
        fewer_classes: Literal["error", "all"] = "error",
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        counts = {
            "classes_per_batch": classes_per_batch,
            "samples_per_class": samples_per_class,
        }
        if batches_per_epoch is not None:
            counts["batches_per_epoch"] = batches_per_epoch
        for name, count in counts.items():
            check_count(name, count)
        if fewer_classes not in ("error", "all"):
            raise ValueError(f'fewer_classes must be "error" or "all", got {fewer_classes!r}')
        if fewer_classes == "all" and world_size > 0:
            classes_per_batch, samples_per_class = self._adapted(
                np.asarray(labels), classes_per_batch, samples_per_class, world_size
            )
        if world_size > 0 and classes_per_batch % world_size:
            raise ValueError(
                f"classes_per_batch ({classes_per_batch}) must be a multiple of world_size ({world_size}), because "
                "each process gets whole classes; "
                f"try {classes_per_batch + world_size - classes_per_batch % world_size}"
            )
        super().__init__(labels, classes_per_batch * samples_per_class, seed=seed, rank=rank, world_size=world_size)
        order = np.argsort(self.labels, kind="stable")  # (N,)
        starts = np.flatnonzero(np.diff(self.labels[order])) + 1
        self._images_of_class = np.split(order, starts)  # C arrays of image indices
        if len(self._images_of_class) < classes_per_batch:
            raise ValueError(
                f"classes_per_batch ({classes_per_batch}) is more than the {len(self._images_of_class)} classes there "
                f"are; try {len(self._images_of_class) - len(self._images_of_class) % world_size} "
                f'with samples_per_class={self.batch_size // len(self._images_of_class)}, or fewer_classes="all"'
            )
        self.classes_per_batch = classes_per_batch
        self.samples_per_class = samples_per_class
        self.independent_classes = independent_classes
        self.replacement = replacement
        self.batches_per_epoch = batches_per_epoch or max(1, len(self.labels) // self.batch_size)

    def _adapted(
        self, labels: Array, classes_per_batch: int, samples_per_class: int, world_size: int
    ) -> tuple[int, int]:
        """Classes in a batch and images of each that ``labels`` (N,) have enough classes for; what changes is noted."""
        counts = np.unique(labels, return_counts=True)[1]  # (C,)
        classes = len(counts) - len(counts) % world_size
        if classes >= classes_per_batch or classes < 1:
            return classes_per_batch, samples_per_class
        samples = classes_per_batch * samples_per_class // classes
        samples = max(samples_per_class, min(samples, int(counts.max())))
        self.notes = (
            f"there are {len(counts)} classes to train on, so batches have {classes} classes with {samples} images "
            f"each instead of {classes_per_batch} with {samples_per_class}",
        )
        return classes, samples

    def __len__(self) -> int:
        return self.batches_per_epoch

    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        count = len(self._images_of_class)
        classes = ShuffledStream(np.arange(count), generator)
        images: dict[int, ShuffledStream] = {}
        for _ in range(self.batches_per_epoch):
            if self.independent_classes:
                chosen = generator.choice(count, self.classes_per_batch, replace=False)
            else:
                chosen = classes.take(self.classes_per_batch)
            groups = []
            for c in chosen.tolist():
                if self.replacement:
                    groups.append(generator.choice(self._images_of_class[c], self.samples_per_class))
                    continue
                if c not in images:
                    images[c] = ShuffledStream(self._images_of_class[c], generator)
                groups.append(images[c].take(self.samples_per_class))
            yield np.concatenate(groups)
