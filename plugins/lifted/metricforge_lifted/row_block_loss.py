"""Eq. 4 of the lifted structure paper and its gradient (Algorithm 1) by blocks of rows of the B x B distances."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from metricforge import functional
from metricforge_lifted.whole_matrix_loss import whole_matrix_loss

# Distances at once, 16 MB of float32 on a CPU. Smaller blocks stay in its inner caches, but threads wait for each other
# more often, and the products have too few rows; other devices want few and large ones.
CPU_BLOCK = 2**22
DEVICE_BLOCK = 2**26
FAR = 1e-3  # what rounding may add to an exponent


def row_block_loss(
    embeddings: Tensor, first: Tensor, second: Tensor, negative: Tensor | None, margin: float, block: int | None = None
) -> Tensor:
    """The total of Eq. 4 for listed positive pairs, in the memory of the list and of a few blocks.

    For the gradient the distances are computed again, unless one block holds them all; a gradient that is to be
    differentiated itself goes over whole matrices.

    Args:
        embeddings: (B, D), in at least float32, B at least 1.
        first: (P,) one end of each positive pair, ascending; every pair is listed both ways.
        second: (P,) the other end.
        negative: (B, B) bool, symmetric: the negative pairs; None for all pairs that are not listed.
        margin: alpha of the paper.
        block: how many distances to hold at once, rounded down to whole rows, one at least; None for what suits the
            device.
    """
    if block is None:
        block = CPU_BLOCK if embeddings.device.type == "cpu" else DEVICE_BLOCK
    blocks = _row_blocks(first, second, len(embeddings), block)
    total: Tensor = _RowBlockLoss.apply(embeddings, first, second, negative, margin, blocks)[0]
    return total


class _RowBlockLoss(torch.autograd.Function):
    """``log(e^L_i + e^L_j) + D_ij`` of each positive pair needs ``L_i = log sum_k exp(margin - D_ik)`` of each row.

    Of its derivative it hands ``e^L_i / (e^L_i + e^L_j)`` to ``L_i``. What row i is handed, ``g_i``, goes on to the
    distances of its negatives as ``-g_i exp(margin - D_ik - L_i)``: factors of at most 1, so nothing overflows.
    """

    @staticmethod
    def forward(
        x: Tensor, first: Tensor, second: Tensor, negative: Tensor | None, margin: float, blocks: list[_RowBlock]
    ) -> tuple[Any, ...]:
        with torch.autocast(x.device.type, enabled=False):
            frame = functional.common_frame(x)
            a = x.new_zeros(()).expand_as(x) if frame is None else functional.centred(x, *frame)  # (B, D)
            squares = a.square().sum(dim=1)  # (B,)
            near = None
            # A finite stand-in for -inf in rows without a negative; halved, so that differences do not overflow.
            lowest = torch.finfo(x.dtype).min / 2
            rows, paired = torch.empty_like(squares), x.new_empty(len(first))  # (B,), (P,)
            distances, pull = (x.new_empty(blocks[0].height, len(x)) for _ in range(2))
            for part in blocks:
                distances, pull = distances[: part.height], pull[: part.height]  # (rows of the block, B)
                near = _measure(x, a, squares, frame, part, distances)
                torch.index_select(distances.view(-1), 0, part.places, out=paired[part.listed])
                _leave_out(distances, part, negative)
                nearest = distances.amin(dim=1).clamp_max_(-lowest)
                torch.sub(nearest[:, None], distances, out=pull)
                rows[part.rows] = pull.exp_().sum(dim=1).log_().sub_(nearest)
            rows.add_(margin).clamp_min_(lowest)
            of_first, of_second = rows.index_select(0, first), rows.index_select(0, second)  # (P,) each
            violations = torch.logaddexp(of_first, of_second).add_(paired).relu_()
            total = violations.square().sum() / (2 * max(len(first), 1))
        only = distances if len(blocks) == 1 else None
        return total, squares, rows, paired, violations, only, near if only is not None else None, frame

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        *tensors, ctx.margin, ctx.blocks = inputs
        *found, ctx.near, ctx.frame = output
        ctx.mark_non_differentiable(*(one for one in found[1:] if one is not None))
        ctx.set_materialize_grads(False)  # or backward would be handed zeros for each of them
        ctx.save_for_backward(*tensors, *found[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 6
        x, first, second, negative, squares, rows, paired, violations, kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            return _differentiable_gradient(x, first, second, negative, ctx.margin, gradient), *(None,) * 5
        with torch.autocast(x.device.type, enabled=False):
            to_pairs = violations * (2 / max(len(first), 1))  # (P,)
            shares = rows.index_select(0, first).sub_(rows.index_select(0, second)).sigmoid_().mul_(to_pairs)
            to_rows = torch.zeros_like(rows).index_put_((first,), shares, accumulate=True)  # (B,)
            paired = _without_zeros(paired)
            most = to_rows.log_()  # (B,)
            exponents = (most - rows).add_(ctx.margin)  # (B,)
            # of distances so large that their rounding would make factors of more than 1
            far = rows.abs().where(exponents > -torch.inf, 0).where(rows > torch.finfo(x.dtype).min / 2, 0)
            is_far = bool(far.amax() > FAR / torch.finfo(x.dtype).eps)
            frame, near = ctx.frame, ctx.near
            a = x.new_zeros(()).expand_as(x) if frame is None else functional.centred(x, *frame)  # (B, D)
            offsets = a if frame is None or frame.scale == 1 else functional.centred(x, frame.centre, 1.0)  # (B, D)
            found = torch.empty_like(x)
            height = ctx.blocks[0].height
            own, others = (x.new_empty(height, len(x)) for _ in range(2))
            distances = x.new_empty(height, len(x)) if kept is None else kept
            for part in ctx.blocks:
                own, others, distances = (memory[: part.height] for memory in (own, others, distances))
                if kept is None:
                    near = _measure(x, a, squares, frame, part, distances)
                    _leave_out(distances, part, negative)
                torch.sub(exponents[part.rows, None], distances, out=own)
                torch.sub(exponents, distances, out=others)
                if is_far:
                    own.clamp_max_(most[part.rows, None])
                    others.clamp_max_(most)
                weights = own.exp_().add_(others.exp_()).neg_()  # (rows of the block, B)
                weights.view(-1).index_add_(0, part.places, to_pairs[part.listed])
                lengths = _without_zeros(distances, out=others)
                lengths.view(-1).index_copy_(0, part.places, paired[part.listed])
                if near is not None:
                    pull, apart = weights[near], lengths[near]  # (n,) each
                    weights[near] = 0
                weights.div_(lengths)
                torch.mul(weights.sum(dim=1)[:, None], offsets[part.rows], out=found[part.rows])
                found[part.rows].addmm_(weights, offsets, alpha=-1)
                if near is not None:
                    functional.pull_near(found[part.rows], None, x[part.rows], x, near, pull, apart)
        return found.mul_(gradient), *(None,) * 5


@dataclass(frozen=True)
class _RowBlock:
    """Some rows of the B x B distances; which of the listed pairs lie in them, and where, counted row after row."""

    rows: slice
    listed: slice
    places: Tensor

    @property
    def height(self) -> int:
        height: int = self.rows.stop - self.rows.start
        return height


def _row_blocks(first: Tensor, second: Tensor, count: int, block: int) -> list[_RowBlock]:
    height = min(max(block // count, 1), count)
    places = first * count + second  # (P,)
    if height == count:
        return [_RowBlock(slice(0, count), slice(0, len(first)), places)]
    starts = torch.arange(0, count, height, device=first.device)
    bounds = [*torch.searchsorted(first, starts).tolist(), len(first)]
    return [
        _RowBlock(slice(row, min(row + height, count)), slice(*listed), places[slice(*listed)] - row * count)
        for row, listed in zip(range(0, count, height), pairwise(bounds), strict=True)
    ]


def _measure(
    x: Tensor, a: Tensor, squares: Tensor, frame: functional.Frame | None, part: _RowBlock, out: Tensor
) -> functional.NearPairs | None:
    """The block's Euclidean distances of ``x`` (B, D), infinite to itself; returns the pairs measured by differences.

    ``a`` (B, D) are the rows in ``frame``, which is None where all are the same, and ``squares`` (B,) their squares.
    """
    torch.add(squares[part.rows, None], squares, out=out)
    out.addmm_(a[part.rows], a.T, alpha=-2)[:, part.rows].fill_diagonal_(torch.inf)
    if frame is None:
        return None
    near = functional.near_pairs(out, squares[part.rows], squares)
    out.sqrt_()
    if frame.scale != 1:
        out.div_(frame.scale)
    if near is not None:
        out[near] = functional.near_distances(x[part.rows], x, near, squared=False)
    return near


def _leave_out(distances: Tensor, part: _RowBlock, negative: Tensor | None) -> None:
    """Put infinity where there is no negative pair: its exponential, and that over it, is 0."""
    if negative is not None:
        distances.masked_fill_(~negative[part.rows], torch.inf)
        return
    distances.view(-1).index_fill_(0, part.places, torch.inf)


def _without_zeros(distances: Tensor, out: Tensor | None = None) -> Tensor:
    """Infinity for 0, so that what is divided by it becomes 0; NaN stays NaN."""
    return torch.threshold(distances, 0, torch.inf, out=out)


def _differentiable_gradient(
    x: Tensor, first: Tensor, second: Tensor, negative: Tensor | None, margin: float, gradient: Tensor
) -> Tensor:
    if negative is None:
        negative = torch.ones(len(x), len(x), dtype=torch.bool, device=x.device).fill_diagonal_(False)
        negative[first, second] = False
    total = whole_matrix_loss(x, first, second, negative, margin, smooth=True)
    (found,) = torch.autograd.grad(total, x, gradient, create_graph=True)
    return found
