"""Embeddings of the host brought into the space in which a similarity searches."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.interfaces import Similarity
from metricforge.large_arrays import array_beside, row_blocks

ROWS_AT_ONCE = 8192
SHORTEST = 1e-12  # what is shorter is not normalised but to 0


@torch.no_grad()
def prepared_embeddings(embeddings: Array, similarity: Similarity, device: torch.device) -> Tensor:
    """``similarity.prepare`` of ``embeddings`` (N, D) of any float type, as one float32 tensor (N, D') on ``device``.

    It is only to be read: where nothing has to be changed it is the embeddings' own memory. Otherwise it is converted
    block by block, and lies in a temporary file where it is large and the device is the CPU.

    Raises:
        ValueError: for embeddings of which float32 cannot tell the direction, where that is what is compared.
    """
    if device.type == "cpu" and _is_prepared(embeddings, similarity):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor does anybody write to it
            return torch.from_numpy(embeddings)
    prepared: Tensor | None = None
    for place, block in row_blocks(embeddings, ROWS_AT_ONCE):
        given = torch.from_numpy(np.array(block, dtype=np.float32)).to(device)  # (rows, D)
        if similarity.search == "ip":
            _check_lengths(given)
        rows = similarity.prepare(given).float()  # (rows, D')
        if prepared is None:
            shape = (len(embeddings), rows.shape[1])
            if device.type == "cpu":
                prepared = torch.from_numpy(array_beside(embeddings, shape, np.float32))
            else:
                prepared = torch.empty(shape, device=device)
        prepared[place] = rows
    assert prepared is not None, "a context never holds an empty set"
    return prepared


def _check_lengths(rows: Tensor) -> None:
    lengths = rows.norm(dim=1)  # (rows,)
    unclear = ~lengths.isfinite() | ((lengths < SHORTEST) & (rows != 0).any(dim=1))
    if unclear.any():
        largest = float(rows[unclear][0].abs().max())
        raise ValueError(
            f"embeddings must have lengths from {SHORTEST:g} to 1e19 for their directions to be compared in float32, "
            f"and the largest number of one is {largest:.3g}; scale or normalise them"
        )


def _is_prepared(embeddings: Array, similarity: Similarity) -> bool:
    """Whether ``embeddings`` are in memory what ``prepare`` would make of them."""
    in_rows = embeddings.flags.c_contiguous and embeddings.flags.aligned
    return type(similarity).prepare is Similarity.prepare and embeddings.dtype == np.float32 and in_rows
