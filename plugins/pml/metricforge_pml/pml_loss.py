"""The adapter of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metricforge import Loss, LossOutput, Pairs, Registry, Similarity, Triplets, Tuples, functional
from metricforge_pml.constructors import construct
from metricforge_pml.index_tuples import IndexTuple, to_index_tuple
from metricforge_pml.parts.registries import NESTED


class PMLLoss(Loss):
    """A loss of pytorch-metric-learning, ``wrapped``, which does the work.

    Three things are done before it is called, so that MetricForge's contract holds: embeddings of half types become
    float32 and autocast is off; a batch without a positive or without a negative pair, by its labels, gives zero with
    zero gradients, but for what its ``embedding_regularizer`` adds; so do tuples of which there are none, and a batch
    without samples. ``similarity`` is not used: it
    has a ``distance`` of its own.

    Parts: what it records of itself under ``collect_stats=True``.

    Raises:
        ValueError: for arguments that it refuses, or a batch of the wrong shapes or types.
        TypeError: for tuples that are neither ``Pairs`` nor ``Triplets``.
    """

    accepts: ClassVar[tuple[type, ...]] = (Pairs, Triplets)
    pml_class: ClassVar[type[nn.Module]]
    nested: ClassVar[Mapping[str, Registry]] = NESTED
    compares_samples: ClassVar[bool] = True

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.wrapped = construct(self.pml_class, arguments)

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        if getattr(self.wrapped, "embedding_regularizer", None) is not None:
            return True
        if self.compares_samples or (tuples is not None and len(tuples) == 0):
            return super().can_compare(labels, tuples)
        return True

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        functional.check_tuples(tuples, self.accepts)
        with torch.autocast(embeddings.device.type, enabled=False):
            total = self.total(functional.in_float32(embeddings), labels, to_index_tuple(tuples))
        recorded = {name: getattr(self.wrapped, name) for name in getattr(self.wrapped, "_record_these_stats", [])}
        return LossOutput(
            total, {name: torch.tensor(float(value), device=total.device) for name, value in recorded.items()}
        )

    def total(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        """The loss, a scalar, of ``embeddings`` (B, D) that are at least float32; ``indices`` as it calls them."""
        no_tuples = indices is not None and not any(map(len, indices))
        if (
            len(labels) == 0
            or no_tuples
            or (self.compares_samples and not functional.has_positive_and_negative(labels))
        ):
            return (embeddings * 0).sum() + self.regularization(embeddings, labels)
        return self.call(embeddings, labels, indices).reshape(())

    def regularization(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """What its embedding regularizer, if it has one, makes of any batch, whatever pairs are in it."""
        if len(labels) == 0 or getattr(self.wrapped, "embedding_regularizer", None) is None:
            return embeddings.new_zeros(())
        losses: dict[str, Any] = {}
        self.wrapped.add_embedding_regularization_to_loss_dict(losses, embeddings)  # type: ignore[operator]
        return self.wrapped.reducer(losses, embeddings, labels).reshape(())  # type: ignore[operator]

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        """The call of ``wrapped`` itself; a batch reaches it only if it has pairs of both kinds."""
        return self.wrapped(embeddings, labels, indices)
