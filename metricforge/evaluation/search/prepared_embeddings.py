"""Embeddings of the host brought into the space in which a similarity searches."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE, array_beside, row_blocks

LONGEST = 1.8e19  # the square of what is longer is beyond float32
SHORTEST = 1e-12  # what is shorter is not normalised but to 0


@torch.no_grad()
def prepared_embeddings(
    embeddings: Array,
    similarity: Similarity,
    device: torch.device,
    centre: Tensor | None = None,
    on_rows: Callable[[Tensor], object] | None = None,
) -> Tensor:
    """``similarity.prepare`` of ``embeddings`` (N, D) of any float type, as one float32 tensor (N, D') on ``device``.

    It is only to be read: where nothing has to be changed it is the embeddings' own memory. Otherwise it is prepared
    block by block, in float64 where the similarity has no weights, less ``centre`` (D',) in float64, and only then
    rounded to float32. It lies in a temporary file where it is large and the device is the CPU. ``on_rows`` is shown
    each block that is prepared before it is rounded.

    Raises:
        ValueError: for embeddings of which float32 cannot tell the direction, where that is what is compared.
    """
    if centre is None and device.type == "cpu" and is_prepared(embeddings, similarity):
        return as_tensor(embeddings)
    prepared: Tensor | None = None
    for place, block in row_blocks(embeddings, ROWS_AT_ONCE):
        rows = prepared_rows(block, similarity, device)  # (rows, D')
        if on_rows is not None:
            on_rows(rows)
        rows = (rows if centre is None else rows - centre.to(rows.dtype)).float()
        if prepared is None:
            shape = (len(embeddings), rows.shape[1])
            if device.type == "cpu":
                prepared = torch.from_numpy(array_beside(embeddings, shape, np.float32))
            else:
                prepared = torch.empty(shape, device=device)
        prepared[place] = rows
    assert prepared is not None, "a context never holds an empty set"
    return prepared


@torch.no_grad()
def prepared_rows(embeddings: Array, similarity: Similarity, device: torch.device) -> Tensor:
    """``similarity.prepare`` of a block of ``embeddings`` (N, D), in float64; in float32 where it has weights.

    Raises:
        ValueError: for embeddings of which float32 cannot tell the direction, where that is what is compared.
    """
    in_float32 = _prepares_in_float32(similarity, device)
    rows = torch.from_numpy(np.array(embeddings, dtype=np.float32 if in_float32 else np.float64)).to(device)  # (N, D)
    if similarity.search == "ip":
        _check_lengths(rows)
    return similarity.prepare(rows)


def _check_lengths(rows: Tensor) -> None:
    lengths = rows.norm(dim=1)  # (rows,)
    unclear = ~(lengths < LONGEST) | ((lengths < SHORTEST) & (rows != 0).any(dim=1))
    if unclear.any():
        largest = float(rows[unclear][0].abs().max())
        raise ValueError(
            f"embeddings must have lengths from {SHORTEST:g} to 1e19 for their directions to be compared in float32, "
            f"and the largest number of one is {largest:.3g}; scale or normalise them"
        )


def as_tensor(embeddings: Array) -> Tensor:
    """``embeddings`` as a tensor on the host, only to be read: their own memory where torch can address it."""
    if min(embeddings.strides) < 0 or not embeddings.flags.aligned or not embeddings.dtype.isnative:
        embeddings = np.array(embeddings, dtype=embeddings.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor does anybody write to it
        return torch.from_numpy(embeddings)


def is_rounded(embeddings: Array, similarity: Similarity, device: torch.device) -> bool:
    """Whether ``prepared_embeddings`` may be a rounded form of what is prepared in float64."""
    kept = type(similarity).prepare is Similarity.prepare and embeddings.dtype.itemsize <= 4
    return not kept and not _prepares_in_float32(similarity, device)


def _prepares_in_float32(similarity: Similarity, device: torch.device) -> bool:
    has_weights = any(True for _ in similarity.parameters()) or any(True for _ in similarity.buffers())
    return has_weights or similarity.search == "hamming" or device.type == "mps"


def is_prepared(embeddings: Array, similarity: Similarity) -> bool:
    """Whether ``embeddings`` are in memory what ``prepare`` would make of them."""
    in_rows = embeddings.flags.c_contiguous and embeddings.flags.aligned
    return type(similarity).prepare is Similarity.prepare and embeddings.dtype == np.float32 and in_rows
