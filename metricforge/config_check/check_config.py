"""Finds every fault of a config at once, each with its config path and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.absent_types import note_recorded_types
from metricforge.config_check.dataloader_faults import dataloader_faults, train_dataloader_faults
from metricforge.config_check.evaluation_faults import clustering_faults, repeated_evaluators, test_cfg_faults
from metricforge.config_check.model_faults import model_faults
from metricforge.config_check.top_level_keys import TOP_LEVEL, shape_faults
from metricforge.config_check.training_faults import training_faults
from metricforge.registry import HOOKS, KINDS
from metricforge.spelling import nearest

REQUIRED = ("model", "test_dataloader", "evaluators")
REQUIRED_TO_TRAIN = ("train_dataloader", "optim_wrapper", "train_cfg")


def check_config(config: Mapping[str, Any], *, train: bool = True, num_classes: int | None = None) -> list[str]:
    """Every fault of ``config`` that can be seen without building a model; empty if there is none.

    Args:
        config: as ``read_config`` gives it, or a plain dict.
        train: whether it is to be trained with; evaluation alone needs less.
        num_classes: of the training set, to compare with; None: not known yet.
    """
    note_recorded_types(config.get("plugins"))
    faults = [
        f"{key}: there is no such top-level key{nearest(key, list(TOP_LEVEL))}; names of your own begin with _"
        for key in config
        if key not in TOP_LEVEL and not str(key).startswith("_")
    ]
    misshapen = shape_faults(config)
    if misshapen:  # the other checks look into them
        return faults + misshapen
    required = REQUIRED + (REQUIRED_TO_TRAIN if train else ())
    faults += [f"{key}: is missing; it holds {TOP_LEVEL[key]}" for key in required if not config.get(key)]
    if config.get("model"):
        faults += model_faults(config["model"], "model", num_classes, needs_loss=train)
    for name, model in (config.get("baselines") or {}).items():
        faults += model_faults(model, f"baselines.{name}", None, needs_loss=False)
    if train and config.get("train_dataloader"):
        faults += train_dataloader_faults(config["train_dataloader"])
    if config.get("test_dataloader"):
        known = {"dataset", "batch_size", "num_workers", "decode", "cache", "fingerprint"}
        faults += dataloader_faults(config["test_dataloader"], "test_dataloader", known, {"dataset"})
    of_evaluators = [
        fault
        for key in ("evaluators", "final_evaluators")
        for number, evaluator in enumerate(config.get(key) or [])
        for fault in KINDS["evaluator"].faults(evaluator, f"{key}[{number}]", {"dim": None})
    ]
    faults += of_evaluators or repeated_evaluators(config)
    if config.get("clustering"):
        faults += clustering_faults(config)
    if config.get("test_cfg"):
        faults += test_cfg_faults(config["test_cfg"])
    if train:
        faults += training_faults(config)
    return faults + _other_plugin_faults(config)


def _other_plugin_faults(config: Mapping[str, Any]) -> list[str]:
    """Types that came with another distribution, when the config was saved, than the one that has them now."""
    recorded = config.get("plugins") or {}
    faults = []
    for name, before in recorded.items() if isinstance(recorded, Mapping) else ():
        now = {registry.source_of(name) for registry in (*KINDS.values(), HOOKS) if name in registry.module_dict}
        distribution = str(before).partition(" ")[0]
        if now and distribution not in {source.distribution for source in now}:
            owners = " and ".join(sorted(str(source) for source in now))
            faults.append(
                f"plugins.{name}: the config was saved with that of {before}, and now it is that of {owners}; install "
                f"{distribution}, or take plugins.{name} out to use the other one"
            )
    return faults
