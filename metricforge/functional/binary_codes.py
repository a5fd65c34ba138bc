"""Embeddings as bits: a value above 0 is a one, any other a zero."""

from __future__ import annotations

import torch
from torch import Tensor


def pack_bits(embeddings: Tensor) -> Tensor:
    """Bits (N, D / 8) uint8 of ``embeddings`` (N, D): eight dimensions a byte, the first in its highest bit.

    ``numpy.unpackbits(..., axis=1)`` gives the bits back.

    Raises:
        ValueError: unless ``embeddings`` are (N, D) with D >= 8 a multiple of 8.
    """
    if embeddings.dim() != 2:
        raise ValueError(f"embeddings must be (N, D), got shape {tuple(embeddings.shape)}")
    check_packable(embeddings.shape[1])
    bits = (embeddings > 0).view(len(embeddings), embeddings.shape[1] // 8, 8)  # (N, D / 8, 8)
    values = 2 ** torch.arange(7, -1, -1, device=embeddings.device, dtype=torch.uint8)  # (8,)
    return (bits * values).sum(dim=2, dtype=torch.uint8)


def check_packable(dim: int) -> None:
    """Raise ValueError unless ``dim`` bits fill whole bytes."""
    if dim < 8 or dim % 8:
        nearest = f"{dim - dim % 8} or " if dim >= 8 else ""
        raise ValueError(
            f"dim ({dim}) must be a multiple of 8 for a packed binary code; "
            f"give the head {nearest}{dim - dim % 8 + 8} dimensions"
        )


def pairwise_hamming_distances(x: Tensor, y: Tensor) -> Tensor:
    """Dimensions (N, M) in which the bits of rows ``x`` (N, D) and ``y`` (M, D) differ, exact, in float32.

    One matrix product of signs: ``(D - s_x s_y') / 2``. Without gradient: a threshold has none.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return (x.shape[1] - _signs(x) @ _signs(y).T) / 2


def _signs(x: Tensor) -> Tensor:
    return (x > 0).float() * 2 - 1
