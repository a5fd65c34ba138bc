"""The checks that every loss and miner makes of what it is called with."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch(embeddings: Tensor, labels: Tensor) -> None:
    """Raises ValueError unless ``embeddings`` are (B, D) floats and ``labels`` (B,) int64 on the same device."""
    if embeddings.dim() != 2 or not embeddings.is_floating_point():
        raise ValueError(
            f"embeddings must be a float tensor (B, D), got {embeddings.dtype} of shape {tuple(embeddings.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels must be int64 of shape ({len(embeddings)},), one class index an embedding, "
            f"got {labels.dtype} of shape {tuple(labels.shape)}; use labels.long()"
        )
    if labels.device != embeddings.device:
        raise ValueError(f"labels are on {labels.device}, embeddings on {embeddings.device}; move them together")


def check_at_least(name: str, value: float, lowest: float, *, open_end: bool = False) -> None:
    """Raises ValueError unless ``value`` is a finite number >= ``lowest`` (> ``lowest`` if ``open_end``)."""
    allowed = value > lowest if open_end else value >= lowest
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (allowed and value < float("inf")):
        raise ValueError(f"{name} must be a number {'>' if open_end else '>='} {lowest}, got {value!r}")
