"""What is wrong with a config's model: its parts, and how they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.component_arguments import is_component
from metricforge.models import (
    compatibility_faults,
    is_loss_list,
    list_compatibility_faults,
    loss_list_faults,
    loss_list_types,
)
from metricforge.registry import KINDS, Registry
from metricforge.spelling import nearest


def model_faults(model: Any, path: str, num_classes: int | None, *, needs_loss: bool) -> list[str]:
    """Faults of the model at ``path``; ``num_classes`` of its training set are None where they are not known yet."""
    kinds = ("backbone", "head", "similarity", "miner", "loss")
    if not isinstance(model, Mapping):
        return [f"{path}: {model!r} must be a dict with the keys {', '.join(kinds)}"]
    faults = [
        f"{path}.{key}: a model has no such part{nearest(key, list(kinds))}"
        for key in model
        if key not in (*kinds, "train_similarity", "freeze", "freeze_stages")
    ]
    patterns, stages = model.get("freeze") or [], model.get("freeze_stages") or 0
    if not isinstance(patterns, str) and not (
        isinstance(patterns, (list, tuple)) and all(isinstance(pattern, str) and pattern for pattern in patterns)
    ):
        faults.append(f'{path}.freeze: {patterns!r} must be a list of names, such as ["backbone.model.blocks.0"]')
    if isinstance(stages, bool) or not isinstance(stages, int) or stages < 0:
        faults.append(f"{path}.freeze_stages: {stages!r} must be an integer >= 0")
    if not isinstance(model.get("train_similarity", True), bool):
        faults.append(f"{path}.train_similarity: {model['train_similarity']!r} must be True or False")
    needed = ("backbone", "loss") if needs_loss else ("backbone",)
    faults += [f"{path}.{key}: is missing; choose one of {KINDS[key].names()}" for key in needed if not model.get(key)]
    unknown = {"dim": None, "num_classes": num_classes}
    for kind in kinds:
        if kind == "loss" and is_loss_list(model.get(kind)):
            faults += loss_list_faults(model[kind], f"{path}.{kind}", unknown)
        elif model.get(kind):
            # a backbone's: the data set fills it in, where it has vectors
            derived = {"feature_dim": None} if kind in ("backbone", "head") else unknown
            faults += KINDS[kind].faults(model[kind], f"{path}.{kind}", derived)
    miner, loss = (_class_of(KINDS[kind], model.get(kind)) for kind in ("miner", "loss"))
    if model.get("miner") and miner is None:  # a miner with a misspelt type is one fault, not two
        return faults
    if not is_loss_list(model.get("loss")):
        return faults + compatibility_faults(miner, loss, path)
    types = loss_list_types(model["loss"])
    return faults + (list_compatibility_faults(miner, types, path) if types else [])


def _class_of(registry: Registry, cfg: Any) -> Any:
    return registry.get(cfg["type"]) if is_component(cfg) and cfg["type"] in registry else None
