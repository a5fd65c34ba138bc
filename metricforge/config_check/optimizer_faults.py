"""What is wrong with how a config steps: optimizer, its wrapper, and the schedules of its learning rate."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import mmengine.registry
from torch import nn

from metricforge.argument_types import is_number
from metricforge.component_arguments import is_component
from metricforge.config_check.keyword_faults import keyword_faults, library_faults
from metricforge.engine.optim.paramwise_options import paramwise_faults
from metricforge.engine.optim.transformers_optimizer import register_transformers_optimizer
from metricforge.engine.optim.trial_step import failure, try_optim_wrapper, try_scheduler

CLIP = "optim_wrapper.clip_grad"


def optim_wrapper_faults(wrapper: Any) -> list[str]:
    """Faults of ``optim_wrapper``, which also makes a few steps on one weight."""
    path = "optim_wrapper"
    if not isinstance(wrapper, Mapping) or not is_component(wrapper.get("optimizer")):
        return [f"{path}.optimizer: is missing; for example optimizer=dict(type='SGD', lr=0.01, momentum=0.9)"]
    optimizer = wrapper["optimizer"]
    register_transformers_optimizer(optimizer["type"])
    faults = library_faults(mmengine.registry.OPTIMIZERS, optimizer, f"{path}.optimizer", {"params"}, set())
    own = {"type": "OptimWrapper"} | {k: v for k, v in wrapper.items() if k not in ("constructor", "paramwise_cfg")}
    faults += library_faults(mmengine.registry.OPTIM_WRAPPERS, own, path, set(), set())
    rate = optimizer.get("lr", 1.0)
    if not is_number(rate) or not abs(rate) <= sys.float_info.max:
        faults.append(f"{path}.optimizer.lr: {rate!r} must be a number")
    every = wrapper.get("accumulative_counts", 1)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        faults.append(f"{path}.accumulative_counts: {every!r} must be an integer >= 1")
    faults += _clip_faults(wrapper.get("clip_grad"))
    if wrapper.get("constructor", "ParameterGroups") == "ParameterGroups":
        decays = optimizer.get("weight_decay") is not None
        faults += paramwise_faults(wrapper.get("paramwise_cfg"), decays=decays)
    return faults or failure(partial(try_optim_wrapper, wrapper), path)


def scheduler_faults(schedulers: Any) -> list[str]:
    """Faults of ``param_scheduler``, each of which also makes a few steps."""
    faults = []
    listed = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers] if schedulers else []
    for number, scheduler in enumerate(listed):
        path = f"param_scheduler[{number}]"
        faults += (
            library_faults(
                mmengine.registry.PARAM_SCHEDULERS, scheduler, path, {"optimizer"}, {"convert_to_iter_based"}
            )
            or _never_reached(scheduler, path)
            or failure(partial(try_scheduler, scheduler), path)
        )
    return faults


def _clip_faults(clip: Any) -> list[str]:
    """Limits of gradients that are no limits: a negative one turns every step around."""
    if not isinstance(clip, Mapping):
        return [] if clip is None else [f"{CLIP}: {clip!r} must be a dict such as dict(max_norm=1)"]
    faults = [
        f"{CLIP}.{key}: {clip[key]!r} must be a number > 0"
        for key in ("max_norm", "clip_value")
        if key in clip and not (is_number(clip[key]) and clip[key] > 0)
    ]
    own = {key: value for key, value in clip.items() if key != "type"}
    for kind, function in (("norm", nn.utils.clip_grad_norm_), ("value", nn.utils.clip_grad_value_)):
        if clip.get("type", "norm") == kind:
            faults += keyword_faults(function, own, CLIP, {"parameters"})
    return faults


def _never_reached(scheduler: Mapping[str, Any], path: str) -> list[str]:
    """Milestones and beginnings that no training comes to, and periods and factors that are none."""
    low = [
        f"{path}.{name}: {scheduler[name]!r} must be > 0"
        for name in ("T_max", "step_size", "start_factor")
        if is_number(scheduler.get(name)) and not scheduler[name] > 0
    ]
    if is_number(scheduler.get("begin")) and not scheduler["begin"] >= 0:
        low.append(f"{path}.begin: {scheduler['begin']!r} must be >= 0")
    if low:
        return low
    exact = scheduler.get("convert_to_iter_based", False)
    if not isinstance(exact, bool):
        return [f"{path}.convert_to_iter_based: {exact!r} must be True or False"]
    parts = [
        f"{path}.{name}: {scheduler[name]!r} must be an integer, or convert_to_iter_based=True"
        for name in ("begin", "step_size")
        if isinstance(scheduler.get(name), float) and scheduler[name] % 1 and not exact
    ]
    if parts:
        return parts
    milestones = scheduler.get("milestones")
    if not isinstance(milestones, (list, tuple)):
        return []
    begin = scheduler.get("begin", 0)
    numbers = [each for each in milestones if is_number(each)]
    whole = len(numbers) == len(milestones) and (exact or all(each == each // 1 for each in numbers if each >= 0))
    return [
        f"{path}.milestones: {each!r} is never reached; they are counted from begin ({begin!r}) and must be >= 0"
        for each in numbers
        if not each >= 0
    ] + [f"{path}.milestones: {milestones!r} must be integers, or convert_to_iter_based=True"] * (not whole)
