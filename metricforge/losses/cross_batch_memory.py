"""A loss between the batch and the embeddings of the batches before it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from metricforge.functional.distances import in_float32
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_count, check_tuples
from metricforge.interfaces import Loss, Miner, Similarity
from metricforge.losses.contrastive_loss import ContrastiveLoss
from metricforge.registry import LOSSES
from metricforge.structures import DirectedPairs, LossOutput, Pairs, Triplets, Tuples
from metricforge.tuple_fit import tuples_misfit


@LOSSES.register_module()
class CrossBatchMemory(Loss):
    """A pair or triplet ``loss`` of a batch to which the embeddings of earlier batches are added, without gradient.

    Wang et al., "Cross-Batch Memory for Embedding Learning" (CVPR 2020): an image finds its hard negatives among
    thousands at the price of a batch. Here batch (B) and memory (M) are one batch of B + M for ``miner`` and ``loss``,
    and the tuples whose anchor is in the batch count: for ``Pairs`` of no direction those with an end in it. Without a
    miner each image of the batch is compared with all others of batch and memory (``DirectedPairs``). Deviations: the
    paper adds up a loss within the batch and one against the memory; here there is one, of both. A loss that is a mean
    over images (``mean_over_images``) is one over the batch's.

    After each update in training mode the batch takes the place of what is oldest in the memory, which is part of the
    checkpoint: a resumed run goes on with it. Over several processes all have the same, that of the whole batch.
    Embeddings go stale as the weights move; ``start`` leaves the memory out until they move slowly.

    Time and memory are those of ``loss`` and ``miner`` for B + M images.

    Parts: those of ``loss``, and in training ``filled``, M, and how old embeddings are: ``drift``, the mean squared
    distance of the batch's embeddings from those that the memory has of the same images (augmentation included), and
    ``seen_again``, the share of the batch that this is the mean of (0: no image of it is in the memory).

    Args:
        dim: D, filled in from the head.
        loss: one that accepts ``Pairs`` or ``Triplets``; None: ``ContrastiveLoss()``, the paper's.
        size: embeddings that the memory holds, at least a batch.
        miner: chooses the tuples; None: all pairs.
        start: batches at the beginning that are compared with themselves alone (the paper: 1,000).

    Raises:
        ValueError: for a loss that takes no pairs or triplets, triplets without a miner, a miner that does not fit the
            loss, numbers out of range, or a batch larger than the memory or of the wrong shapes or types.
    """

    embeddings: Tensor
    labels: Tensor
    ids: Tensor
    counts: Tensor

    def __init__(
        self, dim: int, loss: Loss | None = None, size: int = 4096, miner: Miner | None = None, start: int = 0
    ) -> None:
        super().__init__()
        loss = ContrastiveLoss() if loss is None else loss
        check_count("dim", dim)
        check_count("size", size)
        check_at_least("start", start, 0)
        name = type(loss).__name__
        if not any(issubclass(kind, (Pairs, Triplets)) for kind in loss.accepts):
            raise ValueError(f"loss: {name} takes neither Pairs nor Triplets, so it cannot compare with a memory")
        if miner is None and (Pairs not in loss.accepts or loss.needs_miner):
            raise ValueError(
                f"miner: {name} against a memory needs one that chooses its tuples, such as HardTripletMiner"
            )
        misfit = None if miner is None else tuples_misfit(type(miner), type(loss))
        if misfit is not None:
            raise ValueError(f"miner: {misfit}")
        self.loss = loss
        self.miner = miner
        self.size = size
        self.start = start
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64))  # images and batches so far
        self._counts: tuple[int, int] | None = None  # the same, on the host
        self.register_load_state_dict_post_hook(_forget_counts)  # type: ignore[no-untyped-call]

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        if len(labels) > self.size:
            raise ValueError(
                f"size ({self.size}) must be at least the batch's {len(labels)} images; make it several batches large"
            )
        batch = in_float32(embeddings)
        images, batches = self._host_counts()
        filled = min(images, self.size) if batches >= self.start else 0
        everything = torch.cat([batch, self.embeddings[:filled]])  # (B + M, D)
        classes = torch.cat([labels, self.labels[:filled]])  # (B + M,)
        output = self.loss(everything, classes, self._tuples(everything, classes, len(labels), similarity), similarity)
        scale = len(classes) / max(len(labels), 1) if self.loss.mean_over_images else 1.0
        parts = dict(output.parts)
        if self.training:
            parts |= self._drift(batch.detach(), min(images, self.size)) | {"filled": batch.new_tensor(filled)}
            self._remember(batch.detach(), labels)
        return LossOutput(scale * output.total, parts)

    @torch.no_grad()
    def _tuples(self, everything: Tensor, classes: Tensor, count: int, similarity: Similarity | None) -> Tuples:
        """What ``miner`` chooses, or all pairs, whose anchors are among the first ``count`` rows."""
        if self.miner is None:
            rows, others = (torch.arange(n, device=classes.device) for n in (count, len(classes)))
            first, second = rows.repeat_interleave(len(classes)), others.repeat(count)
            different = first != second
            first, second = first[different], second[different]  # (B (B + M - 1),)
            return DirectedPairs(first, second, classes[first] == classes[second])
        mined: Any = self.miner(everything.detach(), classes, similarity)  # type: ignore[arg-type]
        if isinstance(mined, Triplets):
            kept = mined.anchor < count
        elif isinstance(mined, DirectedPairs):
            kept = mined.first < count
        else:
            kept = (mined.first < count) | (mined.second < count)
        return type(mined)(**{field.name: getattr(mined, field.name)[kept] for field in fields(mined)})

    def _drift(self, batch: Tensor, filled: int) -> dict[str, Tensor]:
        """How far the embeddings of images that the memory has are from those it has, the newest of each."""
        if self.batch_ids is None or filled == 0:
            return {}
        ids = self.batch_ids.to(batch.device)
        same = ids[:, None] == self.ids[None, :filled]  # (B, M)
        images, _ = self._host_counts()
        ages = (images - 1 - torch.arange(filled, device=batch.device)) % self.size  # (M,), 0 for the newest
        newest = torch.where(same, ages, self.size).argmin(dim=1)  # (B,)
        again = same.any(dim=1)  # (B,)
        squared = (batch - self.embeddings[newest]).square().sum(dim=1)  # (B,)
        drift = (squared * again).sum() / again.sum().clamp_min(1)
        return {"drift": drift, "seen_again": again.to(batch.dtype).mean()}

    @torch.no_grad()
    def _remember(self, batch: Tensor, labels: Tensor) -> None:
        images, batches = self._host_counts()
        rows = (torch.arange(len(labels), device=batch.device) + images) % self.size  # (B,)
        self.embeddings[rows] = batch.to(self.embeddings.dtype)
        self.labels[rows] = labels
        self.ids[rows] = -1 if self.batch_ids is None else self.batch_ids.to(self.ids.device)
        self._counts = (images + len(labels), batches + 1)
        self.counts += torch.tensor([len(labels), 1]).to(self.counts.device)

    def _host_counts(self) -> tuple[int, int]:
        if self._counts is None:
            images, batches = self.counts.tolist()
            self._counts = (images, batches)
        return self._counts

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Whether there is an image: what to compare it with may be in the memory."""
        return len(labels) > 0

    def extra_repr(self) -> str:
        return f"size={self.size}, start={self.start}"


def _forget_counts(memory: CrossBatchMemory, keys: Any) -> None:
    memory._counts = None
