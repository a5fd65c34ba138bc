"""Tries optimizers and schedules on one weight, so that a value they cannot take is found before anything is built."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.optim import _ParamScheduler, build_optim_wrapper
from mmengine.registry import MODELS, OPTIM_WRAPPERS, PARAM_SCHEDULERS
from torch import nn

STEPS = 3


def failure(attempt: Callable[[], object], path: str) -> list[str]:
    """Why ``attempt`` fails, as the fault of the config at ``path``; nothing if it does not."""
    try:
        attempt()
    except Exception as error:  # a library's, of whatever type
        line = traceback.extract_tb(error.__traceback__)[-1].line  # of a bare assertion, all that says what is wrong
        return [f"{path}: {str(error) or f'{type(error).__name__}: {line}'}"]
    return []


def try_optim_wrapper(cfg: Mapping[str, Any], layer: nn.Module | None = None) -> None:
    """Build the optimizer wrapper that ``cfg`` describes, and make a few steps of ``layer``, which takes two numbers.

    None: a linear one.
    """
    own = {key: value for key, value in copy.deepcopy(dict(cfg)).items() if key not in ("constructor", "paramwise_cfg")}
    kind = own.setdefault("type", "OptimWrapper")
    if issubclass(OPTIM_WRAPPERS.module_dict[kind], OPTIM_WRAPPERS.module_dict["AmpOptimWrapper"]):
        own |= {"type": "OptimWrapper"}  # that one wants a GPU, which another machine may have
        own = {
            key: value for key, value in own.items() if key in ("type", "optimizer", "clip_grad", "accumulative_counts")
        }
    layer = nn.Linear(2, 2) if layer is None else layer
    numbers = torch.ones(1, 2, device=next(layer.parameters()).device)
    wrapper = build_optim_wrapper(layer, own)
    with torch.enable_grad():
        for _ in range(STEPS):
            wrapper.update_params(layer(numbers).sum())


def try_average(cfg: Mapping[str, Any]) -> None:
    """Build the moving average that ``cfg``, an ``EMAHook``, describes, and make some steps."""
    for name in ("interval", "begin_iter", "begin_epoch"):
        if isinstance(cfg.get(name), float):
            raise ValueError(f"{name} must be an integer, got {cfg[name]!r}")
    hook = EMAHook(**{key: value for key, value in cfg.items() if key not in ("type", "priority")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which the hook itself gives
        average = MODELS.build(hook.ema_cfg, default_args=dict(model=nn.Linear(2, 2)))
        for _ in range(STEPS):
            average.update_parameters(nn.Linear(2, 2))


def try_scheduler(cfg: Mapping[str, Any]) -> None:
    """Build the schedule that ``cfg`` describes, and make some steps."""
    own = copy.deepcopy(dict(cfg))
    kind = PARAM_SCHEDULERS.module_dict[own["type"]]
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    if own.pop("convert_to_iter_based", False):
        own.pop("type")
        scheduler = kind.build_iter_from_epoch(optimizer=optimizer, epoch_length=2, **own)
    else:
        scheduler = PARAM_SCHEDULERS.build(own, default_args=dict(optimizer=optimizer))
    assert isinstance(scheduler, _ParamScheduler)
    for _ in range(STEPS):
        optimizer.step()
        scheduler.step()
        rate = optimizer.param_groups[0]["lr"]
        if not rate >= 0:
            raise ValueError(f"leads to a learning rate of {rate:g}, which must be >= 0")
