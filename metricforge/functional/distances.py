"""Euclidean distances and cosine similarities of two sets of rows, with gradients that stay finite on duplicates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metricforge.functional.common_frame import centred, common_frame
from metricforge.functional.near_pairs import NearPairs, each_once, near_distances, near_pairs, pull_near

SHORT = 1e-10  # rows shorter than that, or longer than its inverse, are scaled before their squares are summed


def in_float32(x: Tensor) -> Tensor:
    """``x`` with at least float32's precision: half types overflow or cancel in squared distances."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _Distances(torch.autograd.Function):
    """``|x|^2 + |y|^2 - 2xy`` (N, M) or its root, of rows less ``centre``; near pairs by their differences.

    Autograd would walk over several more N x M matrices for its gradient, which is that of the formula, 0 at a root of
    0, and can be differentiated again. ``y`` None stands for ``x``: the diagonal is 0, and the gradient takes one
    product less.
    """

    @staticmethod
    def forward(
        x: Tensor, y: Tensor | None, centre: Tensor, scale: float, squared: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        a = centred(x, centre, scale)  # (N, D)
        of_a = a.square().sum(dim=1)  # (N,)
        b, of_b = (a, of_a) if y is None else _with_squares(centred(y, centre, scale))  # (M, D), (M,)
        found = (of_a[:, None] + of_b).addmm_(a, b.T, alpha=-2)  # (N, M)
        if y is None:
            found.fill_diagonal_(torch.inf)
        near = near_pairs(found, of_a, of_b)
        if y is None:
            found.fill_diagonal_(0)
        if not squared:
            found.sqrt_()
        if scale != 1:
            found.div_(scale).div_(scale if squared else 1)
        if near is not None:
            if y is None:
                near = each_once(near, len(x))
            measured = near_distances(x, x if y is None else y, near, squared=squared)  # (P,)
            found[near] = measured
            if y is None:
                found[near.second, near.first] = measured
        first, second = (None, None) if near is None else near
        return found, first, second

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        x, y, centre, ctx.scale, ctx.squared = inputs
        found, *near = output
        ctx.mark_non_differentiable(*(column for column in near if column is not None))
        ctx.save_for_backward(x, y, centre, None if ctx.squared else found, *near)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, centre, roots, first, second = ctx.saved_tensors
        near = None if first is None else NearPairs(first, second)
        needs_x, needs_y = ctx.needs_input_grad[:2]
        with torch.autocast(x.device.type, enabled=False):
            weights, to_x, to_y = gradient, None, None  # (N, M)
            if not ctx.squared:
                weights = _divided_by_roots(gradient, roots if ctx.scale == 1 else roots * ctx.scale)
            a, b = centred(x, centre, ctx.scale), None if y is None else centred(y, centre, ctx.scale)
            if b is None:
                to_x = _pulled_together(weights, a, near)  # (N, D)
            else:
                if near is not None:
                    weights = weights.index_put(near, weights.new_zeros(()))
                to_x = weights.sum(dim=1)[:, None] * a - weights @ b if needs_x else None  # (N, D)
                to_y = weights.sum(dim=0)[:, None] * b - weights.T @ a if needs_y else None  # (M, D)
            if ctx.squared:
                to_x, to_y = (None if one is None else one * (2 / ctx.scale) for one in (to_x, to_y))
            if near is not None:
                pull = gradient[near] if y is not None else gradient[near] + gradient[near.second, near.first]  # (P,)
                ends = (to_x, to_x, x, x) if y is None else (to_x, to_y, x, y)
                pull_near(*ends, near, 2 * pull if ctx.squared else pull, None if ctx.squared else roots[near])
        return to_x, to_y, None, None, None


def _with_squares(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows, rows.square().sum(dim=1)


def _pulled_together(weights: Tensor, x: Tensor, near: NearPairs | None) -> Tensor:
    """For each row i of ``x`` (N, D) the sum over j of ``(w_ij + w_ji) (x_i - x_j)``, ``near`` pairs left out."""
    # without contiguous() the sum reads one side column by column, which takes four times as long
    both = (weights.T.contiguous() + weights).fill_diagonal_(0)  # (N, N)
    if near is not None:
        both[near] = both[near.second, near.first] = 0
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

    Half types are computed and returned in float32, also under autocast. One matrix product, ``|x|^2 + |y|^2 - 2xy``
    of rows less their common mean, so that an offset that all share costs no digits; pairs that are near to each other
    beside that are measured by their differences. Where both are the same tensor the diagonal is exactly zero.

    Raises:
        ValueError: where finite rows are so far apart that the result overflows.
    """
    return _distances(x, y, squared=True)


def safe_sqrt(squares: Tensor) -> Tensor:
    """The root of ``squares`` >= 0, with gradient 0 instead of infinity at 0 (two duplicate images). NaN stays NaN."""
    return _SafeSqrt.apply(squares)


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows ``x`` (N, D) and ``y`` (M, D); the gradient at distance 0 is 0.

    Computed as ``pairwise_squared_distances`` are, and for rows whose squares overflow or vanish in units of their own.

    Raises:
        ValueError: where finite rows are so far apart that the result overflows.
    """
    return _distances(x, y, squared=False)


def _distances(x: Tensor, y: Tensor, *, squared: bool) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        same = x is y
        x = in_float32(x)
        others = None if same else in_float32(y)
        with torch.no_grad():
            frame = common_frame(x, others)
        if frame is None:  # zeros with a gradient of 0
            to_x, to_y = (rows[:, :1].sum(dim=1) * 0 for rows in (x, x if others is None else others))  # (N,), (M,)
            return to_x[:, None] + to_y
        found: Tensor = _Distances.apply(x, others, frame.centre, frame.scale, squared)[0]
        if frame.scale < 1 and not bool(found.isfinite().all()):
            raise ValueError(
                f"{'squared ' if squared else ''}distances of embeddings overflow {found.dtype}: their largest number "
                f"is {float(x.abs().amax()):.3g}; normalise them (l2_normalize=True of the head), or look for what "
                "makes the training diverge"
            )
        return found


def paired_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (P,) of row p of ``x`` (P, D) and row p of ``y`` (P, D), in at least float32."""
    with torch.autocast(x.device.type, enabled=False):
        return (in_float32(x) - in_float32(y)).square().sum(dim=1)


def is_exporting() -> bool:
    """Whether operations are being recorded as a graph, which can look at no number (torch.export, TorchScript)."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of ``x`` (N, D) scaled to length 1, in at least float32, however long or short they are.

    A row of zeros has no direction: it stays zero, and its gradient is 0.
    """
    x = in_float32(x)
    with torch.no_grad():
        largest = x.abs().amax(dim=1, keepdim=True) if x.shape[1] else x.new_ones(len(x), 1)  # (N, 1)
        if is_exporting():
            usual = (largest > SHORT) & (largest < 1 / SHORT)
            units = torch.where(usual | (largest == 0), torch.ones_like(largest), largest)  # (N, 1)
            return torch.nn.functional.normalize(x / units, dim=1)
        # on a CPU a look is cheaper than a pass over all rows, on a GPU it is not
        moderate = x.device.type == "cpu" and bool(((largest > SHORT) & (largest < 1 / SHORT)).all())
        if not moderate:
            exponents = torch.frexp(largest).exponent.clamp(-126, 126)
            units = torch.ldexp(torch.ones_like(largest), -exponents).masked_fill(largest == 0, 0)  # (N, 1)
    return torch.nn.functional.normalize(x if moderate else x * units, dim=1)


def pairwise_cosine(x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
    """Cosine similarities (N, M) of rows ``x`` (N, D) and ``y`` (M, D), in at least float32, times ``scale``.

    Scaling here, before the matrix product, spares two passes over N x M.
    """
    same = x is y
    with torch.autocast(x.device.type, enabled=False):
        x = l2_normalize(x)
        y = x if same else l2_normalize(y)
        return (x if scale == 1 else scale * x) @ y.T
