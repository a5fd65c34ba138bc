"""The rows of all processes as one tensor, with gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from metricforge.engine.distributed.process_watch import waiting


class GatheredRows(Function):
    """Rows (B, ...) of every process to (world_size * B, ...), in the order of the processes; all have B rows.

    Going back, each row gets the sum of its gradients on all processes. (torch's differentiable collectives do the same
    under names that change from release to release, and hand on a tensor of another class.)
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.first = dist.get_rank() * len(rows)
        ctx.count = len(rows)
        gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        with waiting():
            dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)  # (world_size * B, ...)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        summed = gradient.clone(memory_format=torch.contiguous_format)
        with waiting():
            dist.all_reduce(summed)
        return summed[ctx.first : ctx.first + ctx.count]  # (B, ...)
