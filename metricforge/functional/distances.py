"""Euclidean distances and cosine similarities of two sets of rows, with gradients that stay finite on duplicates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def in_float32(x: Tensor) -> Tensor:
    """``x`` with at least float32's precision: half types overflow or cancel in squared distances."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _SquaredDistances(torch.autograd.Function):
    """``|x|^2 + |y|^2 - 2xy`` (N, M). Autograd would walk over several more N x M matrices for its gradient.

    The gradient is that of the formula, also where rounding made a distance negative. It can be differentiated again.
    """

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)[None, :]  # (N, M)
        return squares.addmm_(x, y.T, alpha=-2).clamp_min_(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        needs_x, needs_y = ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            to_x = 2 * (gradient.sum(dim=1)[:, None] * x - gradient @ y) if needs_x else None  # (N, D)
            to_y = 2 * (gradient.sum(dim=0)[:, None] * y - gradient.T @ x) if needs_y else None  # (M, D)
        return to_x, to_y


class _SquaredDistancesWithin(torch.autograd.Function):
    """The same of one set (N, N), with zeros on the diagonal: one matrix product less in the gradient."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _SquaredDistances.forward(x, x).fill_diagonal_(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * _pulled_together(gradient, x)


class _DistancesWithin(torch.autograd.Function):
    """The roots of the above, in the same memory; the gradient at distance 0 is 0."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _SquaredDistancesWithin.forward(x).sqrt_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, roots = ctx.saved_tensors
        return _pulled_together(_divided_by_roots(gradient, roots), x)


def _pulled_together(weights: Tensor, x: Tensor) -> Tensor:
    """For each row i of ``x`` (N, D) the sum over j of ``(w_ij + w_ji) (x_i - x_j)``."""
    with torch.autocast(x.device.type, enabled=False):
        # without contiguous() the sum reads one side column by column, which takes four times as long
        both = (weights.T.contiguous() + weights).fill_diagonal_(0)  # (N, N)
        return both.sum(dim=1)[:, None] * x - both @ x


def _divided_by_roots(gradient: Tensor, roots: Tensor) -> Tensor:
    """``gradient / roots``, and 0 where the root is 0; NaN stays NaN."""
    # threshold takes a fifth of the time that a mask takes
    divided = gradient / torch.nn.functional.threshold(roots, 0, 1)
    return torch.ops.aten.threshold_backward(divided, roots, 0)


class _SafeSqrt(torch.autograd.Function):
    @staticmethod
    def forward(squares: Tensor) -> Tensor:
        return squares.sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (roots,) = ctx.saved_tensors
        return _divided_by_roots(gradient, roots) / 2


def pairwise_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M) of rows ``x`` (N, D) and ``y`` (M, D), never negative.

    Half types are computed and returned in float32, also under autocast. One matrix product: ``|x|^2 + |y|^2 - 2xy``.
    Where both are the same tensor the diagonal is exactly zero.
    """
    with torch.autocast(x.device.type, enabled=False):
        if x is y:
            return _SquaredDistancesWithin.apply(in_float32(x))
        return _SquaredDistances.apply(in_float32(x), in_float32(y))


def safe_sqrt(squares: Tensor) -> Tensor:
    """The root of ``squares`` >= 0, with gradient 0 instead of infinity at 0 (two duplicate images). NaN stays NaN."""
    return _SafeSqrt.apply(squares)


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows ``x`` (N, D) and ``y`` (M, D); the gradient at distance 0 is 0."""
    if x is y:
        with torch.autocast(x.device.type, enabled=False):
            return _DistancesWithin.apply(in_float32(x))
    return safe_sqrt(pairwise_squared_distances(x, y))


def paired_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (P,) of row p of ``x`` (P, D) and row p of ``y`` (P, D), in at least float32."""
    with torch.autocast(x.device.type, enabled=False):
        return (in_float32(x) - in_float32(y)).square().sum(dim=1)


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of ``x`` (N, D) scaled to length 1, in at least float32; a zero row stays zero."""
    return torch.nn.functional.normalize(in_float32(x), dim=1)


def pairwise_cosine(x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
    """Cosine similarities (N, M) of rows ``x`` (N, D) and ``y`` (M, D), in at least float32, times ``scale``.

    Scaling here, before the matrix product, spares two passes over N x M.
    """
    same = x is y
    with torch.autocast(x.device.type, enabled=False):
        x = l2_normalize(x)
        y = x if same else l2_normalize(y)
        return (x if scale == 1 else scale * x) @ y.T
