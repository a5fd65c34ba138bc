"""The adapter of a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pytorch_metric_learning.reducers import PerAnchorReducer
from torch import Tensor, nn

from metricforge import Loss, LossOutput, Pairs, Registry, Similarity, Triplets, Tuples, functional
from metricforge_pml.constructors import construct
from metricforge_pml.index_tuples import IndexTuple, to_index_tuple
from metricforge_pml.parts.registries import NESTED
from metricforge_pml.reducer_checks import check_reducers
from metricforge_pml.references import References, references_of


class PMLLoss(Loss):
    """A loss of pytorch-metric-learning, ``wrapped``, which does the work.

    Three things are done before it is called, so that MetricForge's contract holds: embeddings of half types become
    float32 and autocast is off; a batch without a positive or without a negative pair, by its labels, gives zero with
    zero gradients, but for what its ``embedding_regularizer`` adds; so do tuples of which there are none, and a batch
    without samples. ``similarity`` is not used: it has a ``distance`` of its own.

    With ``ref_emb`` (R, D) and ``ref_labels`` (R,) the batch is compared with these, as in pytorch-metric-learning: the
    anchors of tuples are rows of the batch, all others rows of ``ref_emb``; of plain ``Pairs`` ``first`` is the anchor.

    Parts: what it records of itself under ``collect_stats=True``.

    Raises:
        ValueError: for arguments that it refuses, a reducer that cannot reduce what it computes, a batch or references
            of the wrong shapes or types, or references where it takes none.
        TypeError: for tuples that are neither ``Pairs`` nor ``Triplets``.
    """

    accepts: ClassVar[tuple[type, ...]] = (Pairs, Triplets)
    pml_class: ClassVar[type[nn.Module]]
    nested: ClassVar[Mapping[str, Registry]] = NESTED
    compares_samples: ClassVar[bool] = True
    takes_references: ClassVar[bool] = False

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.wrapped = construct(self.pml_class, arguments)

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        if getattr(self.wrapped, "embedding_regularizer", None) is not None:
            return True
        if self.compares_samples or (tuples is not None and len(tuples) == 0):
            return super().can_compare(labels, tuples)
        return True

    def check_parts(self, arguments: Mapping[str, Any]) -> None:
        """Refuse reducers among ``arguments`` that cannot work here; called once it is built, before any batch."""
        check_reducers(self, arguments)

    def __call__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
        *,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> LossOutput:
        if ref_emb is None and ref_labels is None:
            return super().__call__(embeddings, labels, tuples, similarity)
        # not counted among the empty batches: what of the batch alone can be compared does not matter here
        return nn.Module.__call__(self, embeddings, labels, tuples, similarity, ref_emb=ref_emb, ref_labels=ref_labels)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
        *,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        functional.check_tuples(tuples, self.accepts)
        references = references_of(embeddings, ref_emb, ref_labels)
        if references is not None and not self.takes_references:
            raise ValueError(
                f"ref_emb: {type(self).__name__} compares a batch with nothing but itself or its proxies; leave "
                "ref_emb and ref_labels out, or take a loss of pairs, such as pml.ContrastiveLoss"
            )
        indices = to_index_tuple(tuples, both_ways=references is None)
        with torch.autocast(embeddings.device.type, enabled=False):
            total = self.total(functional.in_float32(embeddings), labels, indices, references)
        return LossOutput(total, recorded_by(self.wrapped, total.device))

    def total(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices: IndexTuple | None,
        references: References | None = None,
    ) -> Tensor:
        """The loss, a scalar, of ``embeddings`` (B, D) that are at least float32; ``indices`` as it calls them."""
        no_tuples = indices is not None and not any(map(len, indices))
        if len(labels) == 0 or no_tuples or (self.compares_samples and not _has_both_kinds(labels, references)):
            return (embeddings * 0).sum() + self.regularization(embeddings, labels)
        if references is not None:
            return self.call_with_references(embeddings, labels, indices, references).reshape(())
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
        with errors_of(self):
            return self.wrapped(embeddings, labels, indices)

    def call_with_references(
        self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None, references: References
    ) -> Tensor:
        """The same with something to compare the batch with; asked only where ``takes_references``."""
        if any(isinstance(part, PerAnchorReducer) for part in self.wrapped.modules()):
            raise ValueError(
                f"ref_emb: pml.PerAnchorReducer of {type(self).__name__} has a place for pairs within the batch only; "
                "take pml.MeanReducer"
            )
        with errors_of(self):
            return self.wrapped(embeddings, labels, indices, *references)


def recorded_by(wrapped: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """What ``wrapped`` recorded of its last call, by name."""
    names = getattr(wrapped, "_record_these_stats", [])
    return {name: torch.tensor(float(getattr(wrapped, name)), device=device) for name in names}


@contextmanager
def errors_of(loss: Loss) -> Iterator[None]:
    """Name ``loss`` in what is raised within: pytorch-metric-learning's errors and bare assertions name no loss."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"{type(loss).__name__} cannot compute this batch: {_said(error)}") from error
    except RuntimeError as error:
        raise RuntimeError(f"{type(loss).__name__} cannot compute this batch: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _has_both_kinds(labels: Tensor, references: References | None) -> Tensor:
    if references is None:
        return functional.has_positive_and_negative(labels)
    same = labels[:, None] == references.labels[None, :]  # (B, R)
    return same.any() & ~same.all()
