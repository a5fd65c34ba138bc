"""Batches of random positive pairs and the nearest images of other classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metricforge import SAMPLERS, EmbeddingBatchSampler, functional
from metricforge_lifted.embedding_bank import EmbeddingBank

Indices = NDArray[np.int64]


@SAMPLERS.register_module()
class DifficultNeighbourBatchSampler(EmbeddingBatchSampler):
    """Batches with difficult neighbours (Song et al., CVPR 2016, section 4): positive pairs, negatives of both ends.

    A batch has ``pairs_per_batch`` positive pairs, uniform among all of the data set that share no image; then each end
    of each pair adds its nearest image of another class that is not in the batch yet: one for each end, then a second
    for each, up to ``neighbours_per_image``. No image is repeated in a batch, which has
    ``2 pairs_per_batch (1 + neighbours_per_image)`` of them, each pair followed by its neighbours. Nearness is the
    Euclidean distance between embeddings in a bank of the whole training set, searched exactly.

    The bank is filled in evaluation mode at the start of every ``refresh_interval``-th epoch; in between, each
    training batch replaces its images' embeddings by those the loss saw (augmented, in training mode). All batches of
    an epoch are drawn at its start: loaders fetch ahead of training, and what they fetch must not depend on how far.
    Where the bank becomes too stale, shorten epochs with ``batches_per_epoch``. A checkpoint holds the bank and the
    epoch's batches, so a resumed run continues bit for bit.

    The paper leaves open how many pairs and neighbours a batch has, how pairs are drawn, and how old the embeddings are
    by which neighbours are found; the authors' released code has no such batches.

    Args:
        labels: the class of each image (N,), any integers; a class of one image is only ever a neighbour.
        pairs_per_batch: positive pairs in a global batch, over all processes.
        neighbours_per_image: difficult neighbours of each end of a pair.
        refresh_interval: epochs from one embedding of the whole training set to the next.
        batches_per_epoch: by default the number of images divided by the batch size, rounded down, and at least 1.
        seed: see BatchSampler, as for the arguments that follow. With several processes each gets whole pairs with
            their neighbours.

    Raises:
        ValueError: for a count below 1 or not whole, pairs that the processes cannot share evenly, a data set with too
            few disjoint positive pairs or too few images of other classes for a batch, a bank that does not match the
            data set, or batches asked for before ``refresh`` filled it; and see BatchSampler.
    """

    def __init__(
        self,
        labels: Sequence[int] | NDArray[Any],
        pairs_per_batch: int,
        neighbours_per_image: int = 1,
        refresh_interval: int = 1,
        batches_per_epoch: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        counts = {
            "pairs_per_batch": pairs_per_batch,
            "neighbours_per_image": neighbours_per_image,
            "refresh_interval": refresh_interval,
        }
        if batches_per_epoch is not None:
            counts["batches_per_epoch"] = batches_per_epoch
        for name, count in counts.items():
            functional.check_count(name, count)
        if world_size > 0 and pairs_per_batch % world_size:
            raise ValueError(
                f"pairs_per_batch ({pairs_per_batch}) must be a multiple of world_size ({world_size}), because each "
                f"process gets whole pairs; try {pairs_per_batch + world_size - pairs_per_batch % world_size}"
            )
        batch_size = 2 * pairs_per_batch * (1 + neighbours_per_image)
        super().__init__(labels, batch_size, seed=seed, rank=rank, world_size=world_size)
        self.pairs_per_batch = pairs_per_batch
        self.neighbours_per_image = neighbours_per_image
        self.refresh_interval = refresh_interval
        self.batches_per_epoch = batches_per_epoch or max(1, len(self.labels) // batch_size)
        self._by_class = np.argsort(self.labels, kind="stable")  # (N,)
        _, self._starts, self._sizes = np.unique(self.labels[self._by_class], return_index=True, return_counts=True)
        self._check_supply()
        self._pairs_up_to = np.cumsum(self._sizes * (self._sizes - 1) // 2)  # (C,)
        self._bank = EmbeddingBank(self.labels)
        self._drawn: Indices | None = None  # the epoch's batches (batches, B)

    def _check_supply(self) -> None:
        """Raise ValueError unless every batch, however its pairs fall, can be filled."""
        disjoint = int((self._sizes // 2).sum())
        if disjoint < self.pairs_per_batch:
            raise ValueError(
                f"pairs_per_batch ({self.pairs_per_batch}) is more than the {disjoint} positive pairs without a common "
                f"image that {len(self.labels)} images of {len(self._sizes)} classes have; take fewer"
            )
        others = len(self.labels) - int(self._sizes[self._sizes > 1].max())
        # the pair is of one class, so all the rest of the batch may be nearer than the neighbour sought
        if others < self.batch_size - 2:
            raise ValueError(
                f"a batch of {self.batch_size} images (2 * pairs_per_batch * (1 + neighbours_per_image)) needs "
                f"{self.batch_size - 2} or more images of other classes, but the largest class leaves {others} of "
                f"{len(self.labels)}; make pairs_per_batch or neighbours_per_image smaller"
            )

    def __len__(self) -> int:
        return self.batches_per_epoch

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self._drawn = None
        super().set_epoch(epoch)

    def refresh_is_due(self) -> bool:
        return self._drawn is None and (self._bank.is_empty or self.epoch % self.refresh_interval == 0)

    def refresh(self, embeddings: Tensor) -> None:
        self._bank.replace(embeddings)
        self._drawn = None

    def observe(self, indices: Tensor, embeddings: Tensor) -> None:
        self._bank.update(indices, embeddings)

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "labels": torch.from_numpy(self.labels),
            "bank": None if self._bank.is_empty else torch.from_numpy(self._bank.rows()),
            "batches": None if self._drawn is None else torch.from_numpy(self._drawn),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        missing = [name for name in ("epoch", "labels", "bank", "batches") if name not in state]
        if missing:
            raise ValueError(f"the state lacks {', '.join(missing)}; it is not one of DifficultNeighbourBatchSampler")
        labels, bank, drawn = state["labels"].numpy(), state["bank"], state["batches"]
        if not np.array_equal(labels, self.labels):
            raise ValueError(
                f"the state is of {len(labels)} images with other labels than the {len(self.labels)} of this data set; "
                "go on with the data set it was made with, or begin anew"
            )
        here = (self.batches_per_epoch, self.batch_size)
        if drawn is not None and tuple(drawn.shape) != here:
            raise ValueError(
                f"the state has {drawn.shape[0]} batches of {drawn.shape[1]} images an epoch, this sampler {here[0]} "
                f"of {here[1]}; go on with the arguments it was made with"
            )
        if bank is not None:
            self._bank.replace(bank)
        self.epoch = state["epoch"]
        self._drawn = None if drawn is None else drawn.numpy().copy()

    def global_batches(self, generator: np.random.Generator) -> Iterator[Indices]:
        if self._drawn is None:
            self._drawn = self._draw(generator)
        yield from self._drawn

    def _draw(self, generator: np.random.Generator) -> Indices:
        """The epoch's batches (batches, B)."""
        pairs = np.stack([self._draw_pairs(generator) for _ in range(self.batches_per_epoch)])  # (batches, P, 2)
        # at most so many others are in a batch already when an end looks for its last neighbour, that one counted in
        reach = self.batch_size - 2
        nearest = self._bank.nearest_of_other_classes(pairs.ravel(), reach)  # (batches * 2P, reach)
        nearest = nearest.reshape(len(pairs), -1, reach)  # (batches, 2P, reach)
        return np.stack([self._add_neighbours(*batch) for batch in zip(pairs, nearest, strict=True)])

    def _draw_pairs(self, generator: np.random.Generator) -> Indices:
        """Positive pairs (P, 2) without a common image, each uniform among those that are left."""
        taken: set[int] = set()
        pairs: list[tuple[int, int]] = []
        while len(pairs) < self.pairs_per_batch:
            among = generator.integers(self._pairs_up_to[-1], size=2 * self.pairs_per_batch)
            classes = np.searchsorted(self._pairs_up_to, among, side="right")  # as often as a class has pairs
            first = generator.integers(self._sizes[classes])
            second = generator.integers(self._sizes[classes] - 1)
            second += second >= first
            images = self._by_class[self._starts[classes] + np.stack([first, second])]  # (2, 2P)
            for pair in images.T.tolist():
                if len(pairs) < self.pairs_per_batch and taken.isdisjoint(pair):
                    taken.update(pair)
                    pairs.append((pair[0], pair[1]))
        return np.array(pairs)

    def _add_neighbours(self, pairs: Indices, nearest: Indices) -> Indices:
        """The batch (B,) of ``pairs`` (P, 2), whose ends have the ``nearest`` images (2P, reach) of other classes."""
        ends = pairs.ravel().tolist()
        taken = set(ends)
        ranked = [iter(row) for row in nearest.tolist()]
        found: list[list[int]] = [[] for _ in ends]
        for _ in range(self.neighbours_per_image):
            for neighbours, candidates in zip(found, ranked, strict=True):
                neighbours.append(next(image for image in candidates if image not in taken))
                taken.add(neighbours[-1])
        added = np.array(found).reshape(len(pairs), -1)  # (P, 2 * neighbours_per_image)
        return np.concatenate([pairs, added], axis=1).ravel()
