"""The means of classes, in the space in which a similarity compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.prepared_embeddings import prepared_embeddings
from metricforge.interfaces import Similarity

TIE = 1e-9  # similarities to means that are nearer to each other are taken for equal


def vectors_to_average(embeddings: np.ndarray[Any, Any], similarity: Similarity, device: torch.device) -> Tensor:
    """``embeddings`` (N, D) as ``similarity`` prepares them, (N, D'): unit vectors for cosine, signs for Hamming.

    In float64, but for a similarity with weights, which takes float32.
    """
    has_weights = any(True for _ in similarity.parameters())
    dtype = torch.float32 if has_weights or device.type == "mps" else torch.float64
    prepared = prepared_embeddings(embeddings, similarity, device).to(dtype)  # (N, D')
    return 2 * prepared - 1 if similarity.search == "hamming" else prepared  # a bit's sign: a mean of 0 is a tie


def sums_of_classes(vectors: Tensor, class_of: np.ndarray[Any, np.dtype[np.int64]], classes: int) -> Tensor:
    """The sum (C, D') of the ``vectors`` (N, D') of each class, whose number ``class_of`` (N,) tells."""
    sums = vectors.new_zeros(classes, vectors.shape[1])
    return sums.index_add_(0, torch.from_numpy(class_of).to(vectors.device), vectors)
