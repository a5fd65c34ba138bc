"""``log(1 + sum exp)``, in which no term may be missing, overflow or vanish."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Log1pSumExp(torch.autograd.Function):
    @staticmethod
    def forward(logits: Tensor, dim: int) -> Tensor:
        largest = logits.amax(dim, keepdim=True).clamp_min_(0)
        # the 1 is exp(0): less the largest it is exp(-largest), of which expm1 and log1p keep every digit
        total = logits.sub(largest).exp_().sum(dim, keepdim=True) + torch.expm1(-largest)
        return (largest + total.log1p_()).squeeze(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        logits, ctx.dim = inputs
        ctx.save_for_backward(logits, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        logits, output = ctx.saved_tensors
        weights = (logits - output.unsqueeze(ctx.dim)).exp()
        return weights * gradient.unsqueeze(ctx.dim), None


def log1p_sum_exp(logits: Tensor, dim: int) -> Tensor:
    """``log(1 + sum_k exp(logits_k))`` over ``dim``, at least 0; a term of -inf is not there, nor is its gradient.

    Without any term it is 0 with zero gradients, where ``logsumexp`` has NaN. NaN stays NaN.
    """
    if logits.shape[dim] == 0:
        return logits.sum(dim)
    found: Tensor = _Log1pSumExp.apply(logits, dim)
    return found
