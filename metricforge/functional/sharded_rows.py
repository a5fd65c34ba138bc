"""Tables whose rows are spread over processes: who has which, how they are drawn, and sums over the processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from metricforge.structures import RowShard

BLOCK = 65536  # rows that are drawn at once


def shard_sizes(total: int) -> list[int]:
    """How many of ``total`` rows each process of torch's default group holds; one number for a process alone.

    Raises:
        ValueError: for fewer rows than processes.
    """
    count = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if total < count:
        raise ValueError(f"shard=True cannot share {total} classes among {count} processes; leave shard out")
    return [(rank + 1) * total // count - rank * total // count for rank in range(count)]


def own_shard(sizes: list[int]) -> tuple[RowShard, int]:
    """Which rows this process has, and how many, where the processes hold ``sizes``."""
    rank = dist.get_rank() if len(sizes) > 1 else 0
    return RowShard(first=sum(sizes[:rank]), total=sum(sizes)), sizes[rank]


def draw_rows(shard: RowShard, count: int, dim: int, fill: Callable[[Tensor], object]) -> Tensor:
    """``count`` rows (count, dim) from ``shard.first`` on of a table that ``fill`` draws in place.

    All rows are drawn, block by block, but never held together: they are the same whatever the number of processes.
    """
    rows = torch.empty(count, dim)
    for start in range(0, shard.total, BLOCK):
        block = torch.empty(min(BLOCK, shard.total - start), dim)
        fill(block)
        own = block[max(0, shard.first - start) : max(0, shard.first + count - start)]
        at = max(0, start - shard.first)
        rows[at : at + len(own)] = own
    return rows


def gather_columns(columns: Tensor, sizes: list[int]) -> Tensor:
    """Columns (B, C_r) of each process, which has ``sizes`` of them, beside each other (B, C); without gradient."""
    if len(sizes) == 1:
        return columns
    widest = max(sizes)
    mine = torch.nn.functional.pad(columns.detach(), (0, widest - columns.shape[1]))  # (B, widest)
    shards = [torch.empty_like(mine) for _ in sizes]
    dist.all_gather(shards, mine)
    return torch.cat([shard[:, :size] for shard, size in zip(shards, sizes, strict=True)], dim=1)


class _SummedGradient(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


def with_summed_gradient(tensor: Tensor) -> Tensor:
    """``tensor`` as it is; its gradient is the sum of those of all processes, each of which has a part of it."""
    summed: Tensor = _SummedGradient.apply(tensor)
    return summed


class _SumOfProcesses(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def sum_of_processes(tensor: Tensor) -> Tensor:
    """The sum of each process's ``tensor``, on all of them; each differentiates its own term."""
    summed: Tensor = _SumOfProcesses.apply(tensor)
    return summed
