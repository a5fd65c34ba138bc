"""The means of classes, in the space in which a similarity compares."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.arrays import Array, Indices
from metricforge.evaluation.search.prepared_embeddings import prepared_rows
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE, row_blocks

TIE = 1e-13  # similarities to means that are nearer to each other, of their size, are taken for equal: rounding's work


def vectors_to_average(embeddings: Array, similarity: Similarity, device: torch.device) -> Tensor:
    """``embeddings`` (N, D) as ``similarity`` prepares them, (N, D'): unit vectors for cosine, signs for Hamming.

    In float64, but for a similarity with weights, which takes float32; so call it for one block after another.
    """
    prepared = prepared_rows(embeddings, similarity, device)  # (N, D')
    if device.type != "mps" and not any(True for _ in similarity.parameters()):
        prepared = prepared.double()
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
