"""Batches from one shuffled list of pairs: every positive pair of the data set, and random negative ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricforge import SAMPLERS, BatchSampler, functional

Indices = NDArray[np.int64]
Images32 = NDArray[np.int32]


@SAMPLERS.register_module()
class PairListBatchSampler(BatchSampler):
    """The batches of Song et al. (CVPR 2016), section 5, and of their released code.

    "We exhaustively use all the positive pairs of examples and randomly subsample approximately equal number of
    negative pairs": more the paper does not say of these batches; the rest is as in the code.

    All positive pairs of the data set and about as many random negative pairs are listed and shuffled once. A batch is
    the next ``pairs_per_batch`` pairs of that list, the two images of a pair next to each other; at its end the list
    starts again in the same order. An epoch is a stretch of the list, and the next epoch continues behind it. A loss
    sees only images, so it may use all pairs among the ``2 pairs_per_batch`` of them.

    Pairs of a batch may share an image, which is then in the batch twice. The list takes 8 bytes of memory per pair.

    What the released code leaves to chance is fixed here: negative pairs are drawn evenly and independently, so that
    one may be listed twice.

    Args:
        labels: the class of each image (N,), any integers; two or more classes.
        pairs_per_batch: pairs in a global batch, over all processes.
        negatives_per_positive: how many negative pairs (> 0, may be a fraction) are listed for each positive one.
        batches_per_epoch: by default the number of images divided by the batch size, rounded down, and at least 1.
        seed: see BatchSampler, as for the arguments that follow. With several processes each gets whole pairs.

    Raises:
        ValueError: for a count below 1 or not whole, another ``negatives_per_positive``, pairs that the processes
            cannot share evenly, or a data set without a positive or without a negative pair; and see BatchSampler.
    """

    def __init__(
        self,
        labels: Sequence[int] | NDArray[Any],
        pairs_per_batch: int,
        negatives_per_positive: float = 1.0,
        batches_per_epoch: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        functional.check_count("pairs_per_batch", pairs_per_batch)
        functional.check_at_least("negatives_per_positive", negatives_per_positive, 0, open_end=True)
        if batches_per_epoch is not None:
            functional.check_count("batches_per_epoch", batches_per_epoch)
        if world_size > 0 and pairs_per_batch % world_size:
            raise ValueError(
                f"pairs_per_batch ({pairs_per_batch}) must be a multiple of world_size ({world_size}), because each "
                f"process gets whole pairs; try {pairs_per_batch + world_size - pairs_per_batch % world_size}"
            )
        super().__init__(labels, 2 * pairs_per_batch, seed=seed, rank=rank, world_size=world_size)
        self.pairs_per_batch = pairs_per_batch
        self.batches_per_epoch = batches_per_epoch or max(1, len(self.labels) // self.batch_size)
        by_class = np.argsort(self.labels, kind="stable").astype(np.int32)  # (N,)
        sizes = np.unique(self.labels, return_counts=True)[1]  # (C,)
        positives = _positive_pairs(by_class, sizes)  # (P, 2)
        if len(positives) == 0 or len(sizes) < 2:
            raise ValueError(
                "labels must have a class of two images and a second class, for positive and negative pairs; got "
                f"{len(self.labels)} images of {len(sizes)} classes; take another sampler, or another loss"
            )
        generator = np.random.default_rng(seed)
        wanted = max(1, round(len(positives) * negatives_per_positive))
        negatives = _negative_pairs(by_class, sizes, wanted, generator)  # (wanted, 2)
        self._pairs: Images32 = generator.permutation(np.concatenate([positives, negatives]))  # (L, 2)

    def __len__(self) -> int:
        return self.batches_per_epoch

    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        for number in range(self.epoch * len(self), (self.epoch + 1) * len(self)):
            places = np.arange(number * self.pairs_per_batch, (number + 1) * self.pairs_per_batch)
            yield self._pairs[places % len(self._pairs)].ravel().astype(np.int64)


def _positive_pairs(by_class: Images32, sizes: Indices) -> Images32:
    """The images (P, 2) of every pair of one class, of images (N,) in the order of their classes."""
    classes = np.split(by_class, np.cumsum(sizes)[:-1])
    pairs = [images[np.stack(np.triu_indices(len(images), k=1), axis=1)] for images in classes]  # (P_c, 2) each
    return np.concatenate(pairs)


def _negative_pairs(by_class: Images32, sizes: Indices, count: int, generator: np.random.Generator) -> Images32:
    """The images (count, 2) of pairs of two classes, each drawn evenly among all such pairs."""
    total = len(by_class)
    starts = np.cumsum(sizes) - sizes  # (C,)
    # an end is as likely as it has images of other classes
    up_to = np.cumsum(sizes * (total - sizes))  # (C,)
    classes = np.searchsorted(up_to, generator.integers(up_to[-1], size=count), side="right")  # (count,)
    first = starts[classes] + generator.integers(sizes[classes])
    second = generator.integers(total - sizes[classes])
    second += (second >= starts[classes]) * sizes[classes]  # past the first one's class
    return by_class[np.stack([first, second], axis=1)]
