"""A backbone whose weights, gradients and optimizer state are spread over the processes (torch's FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from metricforge.engine.distributed.processes import Processes
from metricforge.errors import ConfigError
from metricforge.structures import RowShard


def shard_backbone(backbone: nn.Module, device: torch.device, processes: Processes) -> None:
    """Leave each process a share of the rows of every weight of ``backbone``; the weights become those of process 0.

    A block's weights are gathered when it computes and dropped afterwards, forwards and backwards, and each process
    gets the average of the gradients of its rows. Blocks are the members of the outermost lists and sequences in the
    backbone. They go to ``device`` one after the other, so that it never holds the whole backbone.

    Raises:
        ConfigError: for a weight without rows.
    """
    lone = [name for name, parameter in backbone.named_parameters() if not parameter.dim()]
    if lone:
        raise ConfigError(
            [
                f"train_cfg.shard_backbone: {lone[0]} of {type(backbone).__name__} is a single number, which cannot be "
                "shared out; give it the shape (1,), or leave shard_backbone out"
            ]
        )
    for parameter in backbone.parameters():
        dist.broadcast(parameter.detach(), src=0)
    mesh = init_device_mesh(device.type, (processes.world_size,))
    name = type(backbone).__name__
    for module in (*_blocks(backbone), backbone):
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    type(backbone).__name__ = name  # torch makes a class of its own, and a run says what it trains


def is_sharded(module: nn.Module) -> bool:
    """Whether weights of ``module`` are spread over the processes, so that all of them must compute with it at once."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def row_shard_of(parameter: Tensor, processes: Processes) -> RowShard | None:
    """Which rows of ``parameter`` this process holds; None: it is complete everywhere."""
    if not isinstance(parameter, DTensor):
        return None
    total = parameter.shape[0]
    rows = -(-total // processes.world_size)  # on each process but the last ones
    return RowShard(min(processes.rank * rows, total), total)


def like_shard(rows: Tensor, parameter: Tensor) -> Tensor:
    """Return this process's ``rows`` as part of a tensor spread as ``parameter`` is; as they are if it is not."""
    if not isinstance(parameter, DTensor):
        return rows
    spread: Tensor = DTensor.from_local(
        rows.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
    return spread


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists and sequences in ``module``."""
    for child in module.children():
        in_list = isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential))
        if in_list and not isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield child
        else:
            yield from _blocks(child)
