"""A batch compared with other embeddings, the references: what pytorch-metric-learning calls ``ref_emb``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metricforge import Loss, LossOutput, Similarity, functional
from metricforge_pml.index_tuples import IndexTuple, anchor_columns, from_index_tuple


class References(NamedTuple):
    """Embeddings (R, D) and their classes (R,). Anchors of tuples are rows of the batch, the others rows of these."""

    embeddings: Tensor
    labels: Tensor


def references_of(embeddings: Tensor, ref_emb: Tensor | None, ref_labels: Tensor | None) -> References | None:
    """What was given beside the batch ``embeddings`` (B, D), in its type; None where nothing was.

    Raises:
        ValueError: for one of the two alone, or for shapes, types or devices that do not go with the batch's.
    """
    if ref_emb is None and ref_labels is None:
        return None
    if ref_emb is None or ref_labels is None:
        given, missing = ("ref_emb", "ref_labels") if ref_labels is None else ("ref_labels", "ref_emb")
        raise ValueError(f"{given} was given without {missing}; give both, or neither")
    try:
        functional.check_batch(ref_emb, ref_labels)
    except ValueError as fault:
        raise ValueError(f"ref_emb and ref_labels are a batch of their own, and {fault}") from fault
    if ref_emb.shape[1] != embeddings.shape[1] or ref_emb.device != embeddings.device:
        raise ValueError(
            f"ref_emb must have the batch's {embeddings.shape[1]} dimensions and be on {embeddings.device}, got "
            f"{ref_emb.shape[1]} dimensions on {ref_emb.device}"
        )
    return References(ref_emb.to(functional.in_float32(embeddings).dtype), ref_labels)


def against_references(
    loss: Loss,
    embeddings: Tensor,
    labels: Tensor,
    indices: IndexTuple,
    similarity: Similarity | None,
    references: References,
) -> LossOutput:
    """Call a loss that knows no references on the batch and them as one batch, with ``indices`` as all its tuples."""
    shifted = tuple(
        column if is_anchor else column + len(embeddings)
        for column, is_anchor in zip(indices, anchor_columns(indices), strict=True)
    )
    return loss(
        torch.cat([embeddings, references.embeddings]),  # (B + R, D)
        torch.cat([labels, references.labels]),  # (B + R,)
        from_index_tuple(shifted, labels.device),
        similarity,
    )
