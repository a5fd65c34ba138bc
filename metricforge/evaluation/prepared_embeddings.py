"""Embeddings of the host brought into the space in which a similarity searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metricforge.interfaces import Similarity

ROWS_AT_ONCE = 8192


@torch.no_grad()
def prepared_embeddings(embeddings: np.ndarray[Any, Any], similarity: Similarity, device: torch.device) -> Tensor:
    """``similarity.prepare`` of ``embeddings`` (N, D) of any float type, as one float32 tensor (N, D') on ``device``.

    Converted block by block, so that half-precision embeddings never stand in memory twice.
    """
    prepared: Tensor | None = None
    for start in range(0, len(embeddings), ROWS_AT_ONCE):
        block = torch.from_numpy(np.array(embeddings[start : start + ROWS_AT_ONCE], dtype=np.float32)).to(device)
        block = similarity.prepare(block).float()  # (rows, D')
        if prepared is None:
            prepared = torch.empty(len(embeddings), block.shape[1], device=device)
        prepared[start : start + len(block)] = block
    assert prepared is not None, "a context never holds an empty set"
    return prepared
