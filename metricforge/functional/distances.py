"""Euclidean distances and cosine similarities of two sets of rows, with gradients that stay finite on duplicates."""

from __future__ import annotations

import torch
from torch import Tensor


def in_float32(x: Tensor) -> Tensor:
    """``x`` with at least float32's precision: half types overflow or cancel in squared distances."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def pairwise_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M) of rows ``x`` (N, D) and ``y`` (M, D), never negative.

    Half types are computed and returned in float32, also under autocast. One matrix product: ``|x|^2 + |y|^2 - 2xy``.
    Where both are the same tensor the diagonal is exactly zero.
    """
    same = x is y
    with torch.autocast(x.device.type, enabled=False):
        x = in_float32(x)
        y = x if same else in_float32(y)
        squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)[None, :]  # (N, M)
        squares = torch.addmm(squares, x, y.T, alpha=-2).clamp_min(0)  # (N, M)
    return squares.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0) if same else squares


def safe_sqrt(squares: Tensor) -> Tensor:
    """The root of ``squares`` >= 0, with gradient 0 instead of infinity at 0 (two duplicate images). NaN stays NaN."""
    zero = squares == 0
    return squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows ``x`` (N, D) and ``y`` (M, D); the gradient at distance 0 is 0."""
    return safe_sqrt(pairwise_squared_distances(x, y))


def paired_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (P,) of row p of ``x`` (P, D) and row p of ``y`` (P, D), in at least float32."""
    with torch.autocast(x.device.type, enabled=False):
        return (in_float32(x) - in_float32(y)).square().sum(dim=1)


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of ``x`` (N, D) scaled to length 1, in at least float32; a zero row stays zero."""
    return torch.nn.functional.normalize(in_float32(x), dim=1)


def pairwise_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine similarities (N, M) of rows ``x`` (N, D) and ``y`` (M, D), in at least float32."""
    same = x is y
    with torch.autocast(x.device.type, enabled=False):
        x = l2_normalize(x)
        return x @ (x if same else l2_normalize(y)).T
