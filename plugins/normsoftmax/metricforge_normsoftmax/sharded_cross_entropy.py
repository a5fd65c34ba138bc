"""Cross entropy whose classes are spread over processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


class ShardedCrossEntropy(Function):
    """The mean cross entropy of logits (B, S) of which each process has some columns, and each the same B rows.

    Takes this process's logits (B, S_r), where S_r may be 0, and for each row the column (B,) among them that is its
    label's, -1 where another process has it. Every process gets the same total, and the gradient of its own logits. A
    row whose label no process has makes the total NaN. Only five numbers a row travel, whatever S is.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, columns: Tensor) -> Tensor:
        own = (columns >= 0).to(logits.dtype)  # (B,)
        columns = columns.clamp(min=0)
        if logits.shape[1]:
            largest = logits.amax(dim=1)  # (B,)
            label_logits = logits.gather(1, columns[:, None])[:, 0] * own  # (B,)
        else:
            largest = logits.new_full((len(logits),), -torch.inf)
            label_logits = torch.zeros_like(own)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        exponentials = (logits - largest[:, None]).exp()  # (B, S_r)
        sums = torch.stack([exponentials.sum(dim=1), label_logits, own])  # (3, B)
        dist.all_reduce(sums)
        ctx.save_for_backward(exponentials / sums[0][:, None], columns, own)
        losses = sums[0].log() + largest - sums[1]  # (B,)
        return losses.where(sums[2] == 1, torch.nan).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        probabilities, columns, own = ctx.saved_tensors
        of_logits = probabilities.clone()  # (B, S_r)
        if of_logits.shape[1]:
            of_logits.scatter_add_(1, columns[:, None], -own[:, None])
        return of_logits * (gradient / len(own)), None
