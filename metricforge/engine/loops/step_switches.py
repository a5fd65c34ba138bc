"""Which switches of an update go together, and which a model or device cannot follow."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from metricforge.argument_types import is_number
from metricforge.engine.optim.autocast_optim_wrapper import PRECISIONS, Precision
from metricforge.errors import ConfigError
from metricforge.models import MetricLearner

AVERAGING = ("EMAHook", "SWAHook")
COMPILERS = ("c++", "g++", "clang++")
Convolution = (nn.Conv2d, nn.ConvTranspose2d)


def step_switch_faults(config: Mapping[str, Any]) -> list[str]:
    """Faults of the switches in ``config`` that can be seen without building anything."""
    loop, wrapper = config.get("train_cfg") or {}, config.get("optim_wrapper") or {}
    if not isinstance(loop, Mapping) or not isinstance(wrapper, Mapping):
        return []  # which is said elsewhere
    faults = []
    precision, kind = loop.get("precision", "fp32"), wrapper.get("type", "OptimWrapper")
    if precision in PRECISIONS and precision != "fp32" and kind != "OptimWrapper":
        faults.append(
            f"train_cfg.precision: {precision!r} is for optim_wrapper.type='OptimWrapper', and {kind} chooses a "
            "precision itself; take one of the two out"
        )
    faults += _sharding_faults(config) + _saving_faults(config)
    minutes = loop.get("max_minutes")
    if is_number(minutes) and not (math.isfinite(minutes) and minutes > 0):
        faults.append(f"train_cfg.max_minutes: {minutes!r} must be above 0, or None for any time")
    if loop.get("sync_batch_norm") and loop.get("chunk") is not None:
        faults.append(
            "train_cfg.sync_batch_norm: with train_cfg.chunk processes would wait for each other in every chunk, of "
            "which they may have different numbers; leave one of the two out"
        )
    faults += _late_average_faults(config, minutes)
    hooks = [hook.get("type") for hook in config.get("custom_hooks") or [] if isinstance(hook, Mapping)]
    averaging = [name for name in hooks if name in AVERAGING]
    if len(averaging) > 1:
        faults.append(
            f"custom_hooks: {' and '.join(averaging)} would each put averaged weights in the place of the trained "
            "ones; keep one"
        )
    if minutes is not None and "SWAHook" in hooks:
        faults.append(
            "custom_hooks: SWAHook averages the last epochs, and with train_cfg.max_minutes nobody knows beforehand "
            "which these are; take one of the two out, or average by EMAHook"
        )
    return faults


def _late_average_faults(config: Mapping[str, Any], minutes: Any) -> list[str]:
    """Moving averages that would begin after the last update, or nobody knows when."""
    faults = []
    epochs = (config.get("train_cfg") or {}).get("max_epochs")
    for number, hook in enumerate(config.get("custom_hooks") or []):
        if not isinstance(hook, Mapping) or hook.get("type") != "EMAHook":
            continue
        path, begin = f"custom_hooks[{number}]", hook.get("begin_epoch", 0)
        if isinstance(epochs, int) and isinstance(begin, int) and begin > epochs:
            faults.append(f"{path}.begin_epoch: {begin} is after the last of {epochs} epochs, so nothing is averaged")
        for key in ("begin_epoch", "begin_iter"):
            if minutes is not None and hook.get(key):
                faults.append(
                    f"{path}.{key}: {hook[key]!r} may never come, as train_cfg.max_minutes ends the training when the "
                    "time is over; average from the beginning, or take one of the two out"
                )
    return faults


def _sharding_faults(config: Mapping[str, Any]) -> list[str]:
    """What a backbone that is spread over the processes cannot do."""
    loop, model = config.get("train_cfg") or {}, config.get("model") or {}
    if loop.get("shard_backbone") is not True:
        return []
    without = "which a backbone that is spread over the processes cannot follow; leave one of the two out"
    names = [name for name in ("compile", "channels_last", "sync_batch_norm") if loop.get(name)]
    names += [name for name in ("chunk",) if loop.get(name) is not None]
    faults = [f"train_cfg.shard_backbone: {name} is set, {without}" for name in names]
    if loop.get("precision") == "fp16":
        faults.append("train_cfg.shard_backbone: precision is 'fp16', which scales the loss; take 'bf16'")
    hooks = [hook.get("type") for hook in config.get("custom_hooks") or [] if isinstance(hook, Mapping)]
    faults += [f"train_cfg.shard_backbone: custom_hooks has {name}, {without}" for name in hooks if name in AVERAGING]
    backbone = model.get("backbone") if isinstance(model, Mapping) else None
    if isinstance(backbone, Mapping) and backbone.get("adapter") is not None:
        faults.append(
            "train_cfg.shard_backbone: model.backbone has an adapter, whose few trained weights need no sharding; "
            "leave one of the two out"
        )
    if config.get("readout") is not None:
        faults.append(
            "train_cfg.shard_backbone: readout is set, which mixes complete weights; take it out, and choose one "
            "afterwards with one process"
        )
    return faults


def _saving_faults(config: Mapping[str, Any]) -> list[str]:
    """Shards of a checkpoint in which nothing would be."""
    if (config.get("checkpoint") or {}).get("sharded") is not True or _shares_out(
        [config.get("train_cfg"), config.get("model")]
    ):
        return []
    return [
        "checkpoint.sharded: each process has everything, so there are no rows to write into files of their own; set "
        "train_cfg.shard_backbone=True or shard=True of a loss with proxies, or leave it out"
    ]


def _shares_out(value: Any) -> bool:
    """Whether anything in ``value``, parts of a config, is to be spread over the processes."""
    if isinstance(value, Mapping):
        return any(value.get(key) is True for key in ("shard", "shard_backbone")) or _shares_out(list(value.values()))
    return isinstance(value, (list, tuple)) and any(_shares_out(item) for item in value)


def wrapper_device_faults(wrapper: Mapping[str, Any], device: torch.device) -> list[str]:
    """Faults of ``optim_wrapper`` on ``device``: MMEngine's AmpOptimWrapper scales gradients as a GPU needs it."""
    kind = OPTIM_WRAPPERS.module_dict[wrapper.get("type", "OptimWrapper")]
    if device.type != "cpu" or not issubclass(kind, AmpOptimWrapper):
        return []
    return [f"optim_wrapper.type: {kind.__name__} needs a GPU; leave it out, or say train_cfg.precision='bf16'"]


def check_step_switches(
    model: MetricLearner, device: torch.device, precision: Precision, *, compiled: bool, channels_last: bool
) -> None:
    """Check the switches against the model and where it trains.

    Raises:
        ConfigError: for channels-last images of a backbone without convolutions, a precision that the device only
            emulates, a compiler that is not there, and float16 where each process knows its own gradients only.
    """
    faults = []
    if channels_last and not any(isinstance(module, Convolution) for module in model.backbone.modules()):
        faults.append(
            f"train_cfg.channels_last: {type(model.backbone).__name__} has no convolution, so it changes nothing; "
            "leave it out"
        )
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        faults.append(f"train_cfg.precision: {torch.cuda.get_device_name(device)} has no bfloat16; take 'fp16'")
    if precision == "fp16" and any(getattr(module, "row_shards", None) for module in model.modules()):
        faults.append(
            "train_cfg.precision: with 'fp16' all processes leave out the same updates, which they cannot know of "
            "parameters that are sharded; take 'bf16', or do not shard"
        )
    if compiled and not any(True for _ in model.backbone.parameters()):
        faults.append(
            f"train_cfg.compile: {type(model.backbone).__name__} has no weights, so there is nothing to compile; "
            "leave it out"
        )
    if compiled and device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        faults.append(
            f"train_cfg.compile: on the CPU torch needs a C++ compiler, and there is none of {', '.join(COMPILERS)}; "
            "install one (Debian: apt-get install g++), or leave it out"
        )
    if faults:
        raise ConfigError(faults)
