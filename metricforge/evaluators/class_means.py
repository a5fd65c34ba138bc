"""Class means in the space in which a similarity compares."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.arrays import Array, Indices
from metricforge.evaluation.search.prepared_embeddings import prepared_rows
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE, row_blocks

TIE = 1e-13  # relative difference below which two similarities to means count as equal, being rounding alone


def vectors_to_average(embeddings: Array, similarity: Similarity, device: torch.device) -> Tensor:
    """Prepare ``embeddings`` (N, D) for averaging, (N, D'): unit vectors for cosine, signs for Hamming.

    The result is float64, or float32 for a similarity with weights; call it block by block to save memory.
    """
    prepared = prepared_rows(embeddings, similarity, device)  # (N, D')
    if device.type != "mps" and not any(True for _ in similarity.parameters()):
        prepared = prepared.double()
    return 2 * prepared - 1 if similarity.search == "hamming" else prepared  # signs of bits: a mean of 0 is a tie


def sums_of_classes(
    embeddings: Array,
    class_of: Indices,
    classes: int,
    similarity: Similarity,
    device: torch.device,
) -> Tensor:
    """Sum the prepared ``embeddings`` (N, D) of each class (C, D'); ``class_of`` (N,) are their classes, 0..C - 1."""
    sums: Tensor | None = None
    for rows, block in row_blocks(embeddings, ROWS_AT_ONCE):
        vectors = vectors_to_average(block, similarity, device)  # (rows, D')
        sums = vectors.new_zeros(classes, vectors.shape[1]) if sums is None else sums
        sums.index_add_(0, torch.from_numpy(class_of[rows]).to(device), vectors)
    assert sums is not None, "a context never holds an empty set"
    return sums
