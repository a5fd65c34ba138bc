"""The hooks of a run: those that every run has, and those that its config adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook

from metricforge.assembly.run_datasets import RunDatasets, evaluation_loader, read_as_test_images
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.hooks.baseline_hook import BaselineHook
from metricforge.engine.hooks.checkpoint_hook import CheckpointHook
from metricforge.engine.hooks.console_hook import ConsoleHook
from metricforge.engine.hooks.doctor_hook import DoctorHook
from metricforge.engine.hooks.early_stopping_hook import EarlyStoppingHook
from metricforge.engine.hooks.embedding_bank_hook import EmbeddingBankHook
from metricforge.engine.hooks.stop_hook import StopHook
from metricforge.engine.hooks.time_budget_hook import TimeBudgetHook
from metricforge.engine.loops.score_names import refuse_absent_score
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.errors import ConfigError
from metricforge.interfaces import Evaluator
from metricforge.registry import HOOKS
from metricforge.samplers import BatchSampler, EmbeddingBatchSampler


def build_hooks(cfg: Config, data: RunDatasets, sampler: BatchSampler | None, device: torch.device) -> list[Hook]:
    """Build the hooks of a run; without ``sampler`` it only evaluates."""
    hooks: list[Hook] = [
        ConsoleHook(),
        CheckpointHook(**(cfg.get("checkpoint") or {})),
        BaselineHook(cfg.get("baselines") or {}),
        StopHook(),
    ]
    if cfg.get("doctor", {}) is not None and sampler is not None:
        hooks.append(DoctorHook(Bounds(**cfg.get("doctor", {}))))
    if isinstance(sampler, EmbeddingBatchSampler):
        assert data.train is not None
        seen = read_as_test_images(data.test, data.train, cfg.test_dataloader)
        loader = evaluation_loader(seen, cfg.test_dataloader, device, Processes.current())
        hooks.append(EmbeddingBankHook(sampler, loader))
    hooks += [_build_hook(hook, f"custom_hooks[{number}]") for number, hook in enumerate(cfg.get("custom_hooks") or [])]
    if sampler is not None:
        _refuse_late_average(hooks, cfg.train_cfg.max_epochs * len(sampler))
    if sampler is not None and cfg.train_cfg.get("max_minutes") is not None:
        hooks.append(TimeBudgetHook(cfg.train_cfg.max_minutes))
    return hooks


def refuse_absent_scores(
    hooks: Sequence[Hook], readout: ReadoutStep | None, evaluators: Sequence[Evaluator], num_images: int, dim: int
) -> None:
    """Raise ConfigError if hooks or the readout go by a score that no validation on ``num_images`` images gives."""
    read = [(hook.save_best, "checkpoint.save_best") for hook in hooks if isinstance(hook, CheckpointHook)]
    read += [(hook.monitor, "EarlyStoppingHook.monitor") for hook in hooks if isinstance(hook, EarlyStoppingHook)]
    if readout is not None:
        read.append((readout.options.score, "readout.score"))
    for score, path in read:
        if score is not None:
            refuse_absent_score(score, evaluators, num_images, dim, path)


def _refuse_late_average(hooks: Sequence[Hook], updates: int) -> None:
    """Raise ConfigError for a moving average that begins after the last of ``updates``, which mmengine asserts."""
    for hook in hooks:
        if isinstance(hook, EMAHook) and hook.begin_iter > updates:
            raise ConfigError(
                [f"EMAHook.begin_iter: {hook.begin_iter} is after the last of {updates} updates: nothing is averaged"]
            )


def _build_hook(cfg: Mapping[str, Any], path: str) -> Hook:
    hook: Hook = HOOKS.build({key: value for key, value in cfg.items() if key != "priority"}, path=path)
    if "priority" in cfg:
        hook.priority = cfg["priority"]
    return hook
