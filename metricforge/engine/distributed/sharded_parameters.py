"""Sharded parameters: each process holds some rows, and takes those that it is to hold from a checkpoint of all."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_backbone import like_shard, row_shard_of
from metricforge.engine.records.shard_files import Place, RowsInShards, read_whole
from metricforge.errors import ConfigError
from metricforge.models.own_rows import own_rows
from metricforge.structures import RowShard


def find_row_shards(model: nn.Module) -> dict[str, RowShard]:
    """Find the sharded parameters of ``model``, by name: those that its modules list in ``row_shards``, and torch's."""
    listed = {
        f"{prefix}.{name}" if prefix else name: shard
        for prefix, module in model.named_modules()
        for name, shard in getattr(module, "row_shards", {}).items()
    }
    processes = Processes.current()
    spread = {name: row_shard_of(parameter, processes) for name, parameter in model.named_parameters()}
    return listed | {name: shard for name, shard in spread.items() if shard is not None}


def make_whole(checkpoint: dict[str, Any], model: nn.Module, optimizer: Optimizer, processes: Processes) -> None:
    """Replace this process's rows by those of all processes, in ``checkpoint`` of process 0.

    All processes call it. One parameter, or one value of its optimizer state, after the other goes to the host of
    process 0: no device ever holds more than its own rows.
    """
    for entries, key, _, shard, parameter in _sharded_entries(checkpoint, model, optimizer):
        local = own_rows(entries[key])
        if local.is_sparse:
            local = local.coalesce()
            rows = _gather(local.indices()[0] + shard.first, processes)  # (R,)
            values = _gather(local.values(), processes)  # (R, ...)
            size = (shard.total, *parameter.shape[1:])
            if rows is not None and values is not None:
                entries[key] = torch.sparse_coo_tensor(rows[None], values, size)
        else:
            entries[key] = _gather(local, processes)


def take_out_rows(checkpoint: dict[str, Any], model: nn.Module, optimizer: Optimizer) -> dict[Place, Tensor]:
    """Take this process's rows of sharded parameters, and of their optimizer state, out of ``checkpoint``."""
    rows = {}
    for entries, key, place, *_ in list(_sharded_entries(checkpoint, model, optimizer)):
        local = own_rows(entries.pop(key))
        rows[place] = local.coalesce() if local.is_sparse else local
    return rows


def take_own_rows(checkpoint: dict[str, Any], model: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Replace complete parameters by this process's rows, in a ``checkpoint`` that was read.

    A parameter of another size than the model's stays as it is: whoever loads it says that it does not fit. What lies
    in shards is read: of what this process holds in part, no other rows.

    Raises:
        CheckpointError: if shards are absent or damaged.
    """
    for entries, key, _, shard, parameter in _sharded_entries(checkpoint, model, optimizer):
        whole = entries[key]
        if tuple(whole.shape) == (shard.total, *parameter.shape[1:]):
            first, last = shard.first, shard.first + len(own_rows(parameter))
            if isinstance(whole, RowsInShards):
                rows = whole.read(first, last)
            else:
                rows = whole.index_select(0, torch.arange(first, last))
            entries[key] = like_shard(rows.coalesce() if rows.is_sparse else rows, parameter)
    for part, content in checkpoint.items():
        checkpoint[part] = read_whole(content)


Entry = tuple[MutableMapping[Any, Any], Any, Place, RowShard, nn.Parameter]


def _sharded_entries(checkpoint: dict[str, Any], model: nn.Module, optimizer: Optimizer | None) -> Iterator[Entry]:
    """Each tensor of ``checkpoint`` of a sharded parameter: what holds it, its key, its place, and the parameter."""
    shards = find_row_shards(model)
    if not shards:
        return
    parameters = dict(model.named_parameters())
    # averaged weights, as mmengine's EMAHook keeps them, have the same names behind a prefix
    for part in ("state_dict", "ema_state_dict", "gradients"):
        entries = checkpoint[part] = dict(checkpoint.get(part) or {})
        if not entries:
            del checkpoint[part]
        for key in entries:
            name = key.removeprefix("module.")
            if name in shards:
                yield entries, key, (part, key), shards[name], parameters[name]
    if optimizer is None:
        return
    names = {id(parameter): name for name, parameter in parameters.items()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    for number, state in checkpoint["optimizer"]["state"].items():
        name = order[number]
        if name not in shards:
            continue
        shape = parameters[name].shape
        state = checkpoint["optimizer"]["state"][number] = dict(state)
        for key, value in state.items():
            # what is not one value a weight, such as a count of steps, is the same on all processes
            in_rows = isinstance(value, (Tensor, RowsInShards)) and len(value.shape) == len(shape)
            if in_rows and tuple(value.shape[1:]) == tuple(shape[1:]):
                yield state, key, ("optimizer", "state", number, key), shards[name], parameters[name]
            elif isinstance(value, Tensor) and own_rows(value) is not value:
                raise ConfigError(
                    [
                        f"optim_wrapper.optimizer: {type(optimizer).__name__} keeps {key!r} of shape "
                        f"{tuple(value.shape)} for {name}, which is not one value a weight; with "
                        "train_cfg.shard_backbone take SGD, Adam or AdamW"
                    ]
                )


def _gather(local: Tensor, processes: Processes) -> Tensor | None:
    collected = processes.collect(local.detach().cpu())
    return torch.cat(collected) if collected else None
