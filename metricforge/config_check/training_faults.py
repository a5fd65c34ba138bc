"""What is wrong with how a config trains: loop, optimizer, schedulers, hooks, checkpoints, seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mmengine.runner import Priority

from metricforge.config_check.keyword_faults import keyword_faults
from metricforge.config_check.optimizer_faults import optim_wrapper_faults, scheduler_faults
from metricforge.config_check.validation_faults import readout_faults, unread_validation
from metricforge.datasets.validation_classes import validation_faults
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.hooks.checkpoint_hook import CheckpointHook
from metricforge.engine.hooks.early_stopping_hook import EarlyStoppingHook
from metricforge.engine.hooks.swa_hook import SWAHook
from metricforge.engine.loops.step_switches import step_switch_faults
from metricforge.engine.loops.train_loop import ResumableTrainLoop
from metricforge.engine.optim.trial_step import failure, try_average
from metricforge.engine.tracker_backends import picture_faults, tracker_faults
from metricforge.registry import HOOKS


def training_faults(config: Mapping[str, Any]) -> list[str]:
    """Faults of everything that only training reads."""
    faults: list[str] = []
    loop = config.get("train_cfg")
    if loop:
        faults += keyword_faults(ResumableTrainLoop, loop, "train_cfg", {"runner", "dataloader"}) or _below(loop)
    if config.get("checkpoint"):
        faults += keyword_faults(CheckpointHook, config["checkpoint"], "checkpoint", set()) or failure(
            lambda: CheckpointHook(**config["checkpoint"]), "checkpoint"
        )
    if config.get("readout") is not None:
        faults += readout_faults(config)
    if config.get("doctor"):
        faults += keyword_faults(Bounds, config["doctor"], "doctor", set()) or failure(
            lambda: Bounds(**config["doctor"]), "doctor"
        )
    wrapper = config.get("optim_wrapper")
    if wrapper:
        faults += optim_wrapper_faults(wrapper)
    faults += scheduler_faults(config.get("param_scheduler"))
    for number, hook in enumerate(config.get("custom_hooks") or []):
        own = {key: value for key, value in hook.items() if key != "priority"} if isinstance(hook, Mapping) else hook
        path = f"custom_hooks[{number}]"
        found = HOOKS.faults(own, path, {})
        if not found and own["type"] == "EMAHook":
            found = failure(partial(try_average, own), path)
        if not found and own["type"] == "CheckpointHook":
            found = [f"{path}: mmengine's CheckpointHook writes what nothing here reads; say checkpoint=dict(...)"]
        faults += found or _priority_faults(hook, path)
    faults += _repeated_hooks(config.get("custom_hooks") or [])
    faults += step_switch_faults(config)
    faults += tracker_faults(config.get("visualizer"))
    faults += picture_faults(config.get("custom_hooks"), config.get("visualizer"))
    faults += validation_faults(config.get("validation")) or unread_validation(config)
    if not isinstance(config.get("deterministic", False), bool):
        faults.append(f"deterministic: {config['deterministic']!r} must be True or False")
    seed = config.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        faults.append(f"seed: {seed!r} must be an integer from 0 to {2**31 - 1}")
    return faults


def _priority_faults(hook: Mapping[str, Any], path: str) -> list[str]:
    priority, names = hook.get("priority", 0), list(Priority.__members__)
    if priority in names or (isinstance(priority, int) and 0 <= priority <= 100):
        return []
    return [f"{path}.priority: {priority!r} must be an integer from 0 to 100, or one of {', '.join(names)}"]


def _repeated_hooks(hooks: Sequence[Any]) -> list[str]:
    return [
        f"custom_hooks[{number}]: repeats custom_hooks[{hooks.index(hook)}] and would act twice; remove one of them"
        for number, hook in enumerate(hooks)
        if hooks.index(hook) < number
    ]


def _below(loop: Mapping[str, Any]) -> list[str]:
    """Numbers of ``train_cfg`` that are too small."""
    least = {"max_epochs": 1, "warmup_epochs": 0, "val_interval": 0, "log_interval": 1}
    faults = [
        f"train_cfg.{name}: {loop[name]!r} must be >= {low}" for name, low in least.items() if loop.get(name, low) < low
    ]
    seconds = loop.get("hang_seconds", 1)
    return faults if seconds > 0 else [*faults, f"train_cfg.hang_seconds: {seconds!r} must be > 0"]


# the hooks are registered by being imported
__all__ = ["EarlyStoppingHook", "SWAHook", "training_faults"]
