"""The checks that every loss and miner makes of what it is called with."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from metricforge.argument_types import is_number
from metricforge.structures import Tuples


def check_batch(embeddings: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless ``embeddings`` are (B, D) floats and ``labels`` (B,) int64 on the same device."""
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
    """Raise ValueError unless ``value`` is a finite number >= ``lowest`` (> ``lowest`` if ``open_end``)."""
    if not is_number(value) or not (value > lowest if open_end else value >= lowest) or value == float("inf"):
        raise ValueError(f"{name} must be a number {'>' if open_end else '>='} {lowest}, got {value!r}")


def check_count(name: str, value: int, lowest: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number >= ``lowest``, numpy's included, 2.0 and True not."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name} must be a whole number >= {lowest}, got {value!r}")


def check_tuples(tuples: Tuples | None, accepts: tuple[type, ...]) -> None:
    """Raise TypeError unless ``tuples`` are None or of a type that the loss ``accepts``."""
    if tuples is not None and not isinstance(tuples, accepts):
        allowed = " or ".join(kind.__name__ for kind in accepts) or "no tuples"
        raise TypeError(
            f"this loss accepts {allowed}, got {type(tuples).__name__}; choose a miner that yields what it accepts"
        )
