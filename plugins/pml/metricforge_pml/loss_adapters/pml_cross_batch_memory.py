"""The adapter of CrossBatchMemory: a loss against the embeddings of the last batches too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metricforge import Loss, Miner
from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.loss_adapters.pml_packaged_triplets import PMLPackagedTriplets
from metricforge_pml.pml_loss import PMLLoss
from metricforge_pml.pml_miner import PMLMiner


class PMLCrossBatchMemory(PMLLoss):
    """A ``loss`` of this package between the batch and a memory of the last ``memory_size`` embeddings.

    It takes no tuples, which would be rows of the batch where rows of the memory are wanted: a miner goes into its own
    argument ``miner``. A batch of one class is compared with the memory as any other. Where the memory is filled to is
    part of the checkpoint, so that a resumed run goes on with it.

    Raises:
        ValueError: as ``PMLLoss``, for a loss or miner that is not of this package, and for a batch that is larger
            than the memory.
    """

    accepts = ()
    compares_samples = False

    def __init__(self, loss: Loss, miner: Miner | None = None, memory_size: int = 1024, **arguments: Any) -> None:
        if not isinstance(loss, PMLLoss):
            raise ValueError(
                'loss must be one such as "pml.ContrastiveLoss", which can compare with a memory, '
                f"got {type(loss).__module__}.{type(loss).__name__}"
            )
        if isinstance(miner, PMLPackagedTriplets) or not (miner is None or isinstance(miner, PMLMiner)):
            raise ValueError(
                'miner must be one such as "pml.PairMarginMiner", which can choose from a memory, or None, '
                f"got {type(miner).__name__}"
            )
        if memory_size < 1:
            raise ValueError(f"memory_size must be at least 1, several batches of samples, got {memory_size}")
        super().__init__(loss=loss, miner=miner, memory_size=memory_size, **arguments)

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if len(embeddings) > self.wrapped.memory_size:
            raise ValueError(
                f"memory_size ({self.wrapped.memory_size}) must be at least the batch's {len(embeddings)} samples; "
                "make it several batches large"
            )
        return super().call(embeddings, labels, indices)

    def get_extra_state(self) -> Tensor:
        """Where the next embedding is written, and whether the memory is full: plain attributes there, no buffers."""
        return torch.tensor([self.wrapped.queue_idx, int(self.wrapped.has_been_filled)])

    def set_extra_state(self, state: Any) -> None:
        self.wrapped.queue_idx, full = state.tolist()
        self.wrapped.has_been_filled = bool(full)
