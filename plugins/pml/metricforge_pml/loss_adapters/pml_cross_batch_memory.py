"""The adapter of CrossBatchMemory: a loss against the embeddings of the last batches too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pytorch_metric_learning.losses import CrossBatchMemory
from pytorch_metric_learning.reducers import PerAnchorReducer
from pytorch_metric_learning.utils import common_functions as pml_functions
from pytorch_metric_learning.utils import loss_and_miner_utils as pml_tuples
from torch import Tensor, nn

from metricforge import (
    LOSSES,
    MINERS,
    Loss,
    LossOutput,
    Miner,
    Pairs,
    Registry,
    Similarity,
    Triplets,
    Tuples,
    functional,
)
from metricforge_pml.constructors import construct
from metricforge_pml.index_tuples import IndexTuple, anchor_columns, to_index_tuple
from metricforge_pml.loss_adapters.memory_of_any_loss import MemoryOfAnyLoss
from metricforge_pml.loss_adapters.nested_parts import check_fit, mine, type_of
from metricforge_pml.loss_adapters.pml_packaged_triplets import PMLPackagedTriplets
from metricforge_pml.pml_loss import PMLLoss, errors_of, recorded_by
from metricforge_pml.references import References, against_references


class PMLCrossBatchMemory(Loss):
    """A ``loss`` between the batch and a memory of the last ``memory_size`` embeddings, those of the batch among them.

    As in pytorch-metric-learning the anchors of all tuples are rows of the batch, and all others are rows of the
    memory, through which no gradient flows; ``miner``, or without one every pair, chooses them. Tuples of the batch,
    from the model's miner, are added to these. With ``enqueue_mask`` (B,) the rows where it is True go into the memory,
    and the others are compared with it.

    Loss and miner may be of any package. A loss that is not of pytorch-metric-learning must accept ``Pairs`` or
    ``Triplets``; it is called on batch and memory as one batch, with these tuples. Such a miner is called on the batch
    and what the memory has of earlier ones as one batch, with the model's similarity; of what it yields, the tuples
    count whose anchor is in the batch and, with a mask, whose others are in the memory.

    Where the memory is filled to is part of the checkpoint, so that a resumed run goes on with it.

    Raises:
        ValueError: for a loss that cannot compare with a memory, a miner that does not fit it, a batch that is larger
            than the memory, a mask beside tuples or of another type or shape, or a miner without the similarity that it
            mines by.
    """

    accepts: ClassVar[tuple[type, ...]] = (Pairs, Triplets)
    nested: ClassVar[Mapping[str, Registry]] = {"loss": LOSSES, "miner": MINERS}

    def __init__(self, loss: Loss, miner: Miner | None = None, memory_size: int = 1024, **arguments: Any) -> None:
        super().__init__()
        _check_loss(loss)
        if miner is not None:
            _check_miner(miner, loss)
        elif loss.needs_miner:
            raise ValueError(f"miner: {type(loss).__name__} needs one that yields what it accepts; give it here")
        functional.check_count("memory_size", memory_size)
        self.wrapped = construct(MemoryOfAnyLoss, dict(loss=loss, miner=miner, memory_size=memory_size, **arguments))

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Whether there is a sample: a batch of one class has its negatives in the memory."""
        return len(labels) > 0

    def __call__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
        *,
        enqueue_mask: Tensor | None = None,
    ) -> LossOutput:
        if enqueue_mask is None:
            return super().__call__(embeddings, labels, tuples, similarity)
        return nn.Module.__call__(self, embeddings, labels, tuples, similarity, enqueue_mask=enqueue_mask)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
        *,
        enqueue_mask: Tensor | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        functional.check_tuples(tuples, self.accepts)
        if enqueue_mask is not None:
            _check_mask(enqueue_mask, labels, tuples)
        with torch.autocast(embeddings.device.type, enabled=False):
            batch = functional.in_float32(embeddings)
            memory_rows: Tensor | None = self._enqueue(batch, labels, enqueue_mask)  # (B,), or those of the mask
            if enqueue_mask is not None:
                batch, labels, memory_rows = batch[~enqueue_mask], labels[~enqueue_mask], None
            if len(labels) == 0:
                return LossOutput((functional.in_float32(embeddings) * 0).sum())
            indices = self._indices(batch, labels, tuples, similarity, memory_rows)
            return self._compare(batch, labels, indices, similarity)

    def _enqueue(self, embeddings: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        """Put the batch, or its rows of ``mask``, into the memory; return where they are there."""
        memory = self.wrapped
        stored, classes = (embeddings, labels) if mask is None else (embeddings[mask], labels[mask])
        if len(stored) > memory.memory_size:
            raise ValueError(
                f"memory_size ({memory.memory_size}) must be at least the batch's {len(stored)} samples; make it "
                "several batches large"
            )
        memory.embedding_memory = memory.embedding_memory.to(embeddings)
        memory.label_memory = memory.label_memory.to(labels)
        if len(stored) == 0:
            return labels[:0]
        memory.add_to_memory(stored, classes, len(stored))
        return memory.curr_batch_idx

    def _references(self) -> References:
        filled = self.wrapped.memory_size if self.wrapped.has_been_filled else self.wrapped.queue_idx
        return References(self.wrapped.embedding_memory[:filled], self.wrapped.label_memory[:filled])

    def _indices(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None,
        similarity: Similarity | None,
        memory_rows: Tensor | None,
    ) -> IndexTuple:
        """Tuples of the batch with the memory, which has the batch itself in ``memory_rows`` (B,) where it has."""
        indices = self._mined(embeddings, labels, similarity, memory_rows)
        if memory_rows is not None:
            indices = pml_tuples.remove_self_comparisons(indices, memory_rows, self.wrapped.memory_size)
        given = to_index_tuple(tuples)
        if given is None or memory_rows is None:
            return indices
        if len(given) != len(indices):
            as_many = pml_tuples.convert_to_pairs if len(indices) == 4 else pml_tuples.convert_to_triplets
            given = as_many(given, labels)
        # the others of the batch's own tuples are where the memory has them
        given = tuple(
            column if is_anchor else memory_rows[column]
            for column, is_anchor in zip(given, anchor_columns(given), strict=True)
        )
        return pml_functions.concatenate_indices_tuples(indices, given)

    def _mined(
        self, embeddings: Tensor, labels: Tensor, similarity: Similarity | None, memory_rows: Tensor | None
    ) -> IndexTuple:
        miner, references = self.wrapped.miner, self._references()
        if isinstance(miner, Miner):
            return _mined_by_any(miner, embeddings, labels, similarity, references, memory_rows)
        if miner is not None:
            with errors_of(self):
                return miner(embeddings, labels, *references)
        of_pairs = not isinstance(self.wrapped.loss, Loss) or issubclass(Pairs, self.wrapped.loss.accepts)
        every = pml_tuples.get_all_pairs_indices if of_pairs else pml_tuples.get_all_triplets_indices
        return every(labels, references.labels)

    def _compare(
        self, embeddings: Tensor, labels: Tensor, indices: IndexTuple, similarity: Similarity | None
    ) -> LossOutput:
        loss, references = self.wrapped.loss, self._references()
        if isinstance(loss, Loss):
            return against_references(loss, embeddings, labels, indices, similarity, references)
        with errors_of(self):
            total = loss(embeddings, labels, indices, *references).reshape(())
        return LossOutput(total, recorded_by(loss, total.device))

    def get_extra_state(self) -> Tensor:
        """Where the next embedding is written, and whether the memory is full: plain attributes there, no buffers."""
        return torch.tensor([self.wrapped.queue_idx, int(self.wrapped.has_been_filled)])

    def set_extra_state(self, state: Any) -> None:
        self.wrapped.queue_idx, full = state.tolist()
        self.wrapped.has_been_filled = bool(full)


def _mined_by_any(
    miner: Miner,
    embeddings: Tensor,
    labels: Tensor,
    similarity: Similarity | None,
    references: References,
    memory_rows: Tensor | None,
) -> IndexTuple:
    """What a miner of one batch chooses from the batch and the rows of the memory that do not hold the batch itself."""
    earlier = torch.ones(len(references.labels), dtype=torch.bool, device=labels.device)  # (M,)
    if memory_rows is not None:
        earlier[memory_rows] = False
    rows = torch.nonzero(earlier).squeeze(1)  # (E,)
    # where the memory has each row of the two; -1 for a row of the batch that it has not
    places = torch.cat([torch.full_like(labels, -1) if memory_rows is None else memory_rows, rows])  # (B + E,)
    candidates = torch.cat([embeddings.detach(), references.embeddings[rows]])  # (B + E, D)
    mined = mine("miner", miner, candidates, torch.cat([labels, references.labels[rows]]), similarity)
    columns = to_index_tuple(mined)
    assert columns is not None
    groups = [columns] if len(columns) == 3 else [columns[:2], columns[2:]]
    kept: list[Tensor] = []
    for anchor, *others in groups:
        keep = anchor < len(labels)  # (T,)
        for other in others:
            keep = keep & (places[other] >= 0)
        kept += [anchor[keep], *(places[other[keep]] for other in others)]
    return tuple(kept)


def _check_loss(loss: object) -> None:
    if isinstance(loss, PMLLoss):
        supported = CrossBatchMemory.supported_losses()
        if type(loss.wrapped).__name__ not in supported:
            names = ", ".join(f"pml.{name}" for name in supported)
            raise ValueError(f"loss: {type(loss).__name__} cannot compare a batch with a memory; take one of {names}")
        if any(isinstance(part, PerAnchorReducer) for part in loss.wrapped.modules()):
            raise ValueError(
                f"loss: pml.PerAnchorReducer of {type(loss).__name__} has a place for pairs within the batch only, not "
                "for those with a memory; take pml.MeanReducer"
            )
        return
    if not isinstance(loss, Loss):
        raise ValueError(f'loss must be a loss, such as "pml.ContrastiveLoss", got {type_of(loss)}')
    if not any(issubclass(kind, loss.accepts) for kind in (Pairs, Triplets)):
        raise ValueError(
            f"loss: {type(loss).__name__} accepts neither Pairs nor Triplets, so that it cannot compare a batch with a "
            "memory; take a loss of pairs or triplets, such as ContrastiveLoss or pml.ContrastiveLoss"
        )


def _check_miner(miner: object, loss: Loss) -> None:
    if not isinstance(miner, Miner):
        raise ValueError(f'miner must be a miner, such as "pml.PairMarginMiner", or None, got {type_of(miner)}')
    if isinstance(miner, PMLPackagedTriplets) or not issubclass(miner.yields, (Pairs, Triplets)):
        raise ValueError(
            f"miner: {type(miner).__name__} cannot choose pairs or triplets of a batch and a memory; take one that "
            'can, such as "pml.PairMarginMiner"'
        )
    check_fit("miner", miner, loss)


def _check_mask(mask: Tensor, labels: Tensor, tuples: Tuples | None) -> None:
    if tuples is not None:
        raise ValueError("enqueue_mask and mined tuples exclude each other; leave the model's miner out")
    if mask.dtype != torch.bool or mask.shape != labels.shape or mask.device != labels.device:
        raise ValueError(
            f"enqueue_mask must be bool of shape ({len(labels)},) on {labels.device}, got {mask.dtype} of shape "
            f"{tuple(mask.shape)} on {mask.device}"
        )
