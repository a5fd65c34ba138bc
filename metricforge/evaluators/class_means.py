"""The means of classes, in the space in which a similarity compares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array, Indices
from metricforge.evaluation.search.prepared_embeddings import ROWS_AT_ONCE
from metricforge.interfaces import Similarity
from metricforge.large_arrays import row_blocks

TIE = 1e-9  # similarities to means that are nearer to each other are taken for equal


def vectors_to_average(embeddings: Array, similarity: Similarity, device: torch.device) -> Tensor:
    """``embeddings`` (N, D) as ``similarity`` prepares them, (N, D'): unit vectors for cosine, signs for Hamming.

    In float64, but for a similarity with weights, which takes float32; so call it for one block after another.
    """
    has_weights = any(True for _ in similarity.parameters())
    dtype = torch.float32 if has_weights or device.type == "mps" else torch.float64
    rows = torch.from_numpy(np.array(embeddings, dtype=np.float32)).to(device)
    prepared = similarity.prepare(rows).float().to(dtype)  # (N, D')
    return 2 * prepared - 1 if similarity.search == "hamming" else prepared  # a bit's sign: a mean of 0 is a tie


def sums_of_classes(
    embeddings: Array,
    class_of: Indices,
    classes: int,
    similarity: Similarity,
    device: torch.device,
) -> Tensor:
    """The sum (C, D') of the ``embeddings`` (N, D) to average of each class, whose number ``class_of`` (N,) tells."""
    sums: Tensor | None = None
    for place, block in row_blocks(embeddings, ROWS_AT_ONCE):
        vectors = vectors_to_average(block, similarity, device)  # (rows, D')
        sums = vectors.new_zeros(classes, vectors.shape[1]) if sums is None else sums
        sums.index_add_(0, torch.from_numpy(class_of[place]).to(device), vectors)
    assert sums is not None, "a context never holds an empty set"
    return sums
