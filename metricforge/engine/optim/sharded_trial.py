"""Tries an optimizer on weights of which some are spread over the processes, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_backbone import shard_backbone
from metricforge.engine.optim.trial_step import failure, try_optim_wrapper


def sharded_optimizer_faults(optimizer: Mapping[str, Any], device: torch.device, processes: Processes) -> list[str]:
    """Why ``optimizer`` cannot step weights of a sharded backbone together with complete ones; all processes ask."""
    backbone, head = nn.Linear(2, 2), nn.Linear(2, 2)
    shard_backbone(backbone, device, processes)
    layers = nn.Sequential(backbone, head).to(device)
    return [
        f"{fault}; with train_cfg.shard_backbone take SGD, Adam or AdamW"
        for fault in failure(partial(try_optim_wrapper, {"optimizer": optimizer}, layers), "optim_wrapper.optimizer")
    ]
