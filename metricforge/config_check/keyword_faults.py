"""What is wrong with a dict that becomes the keywords of a class, ours or a library's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metricforge.component_arguments import accepted_arguments, argument_faults, is_component
from metricforge.spelling import nearest


def keyword_faults(cls: Callable[..., Any], cfg: Any, path: str, injected: set[str]) -> list[str]:
    """Faults of a dict that is handed to ``cls`` as keywords."""
    if not isinstance(cfg, Mapping):
        return [f"{path}: {cfg!r} must be a dict"]
    accepted = [name for name in accepted_arguments(cls) or {} if name not in injected]
    faults = [f"{path}.{key}: there is no such key{nearest(key, accepted)}" for key in cfg if key not in accepted]
    missing = argument_faults(
        cls, {"type": path} | {k: cfg[k] for k in cfg if k in accepted}, path, dict.fromkeys(injected)
    )
    return faults + missing


def library_faults(registry: Any, cfg: Any, path: str, injected: set[str], extra: set[str]) -> list[str]:
    """Faults of a component that mmengine or torch has: its own registries fall back to importing any dotted name."""
    if not is_component(cfg):
        return [f"{path}: {cfg!r} must be a dict with a type"]
    if not isinstance(cfg["type"], str) or cfg["type"] not in registry.module_dict:
        guess = nearest(str(cfg["type"]), sorted(registry.module_dict))
        return [f'{path}.type: "{cfg["type"]}" is not a known {registry.name}{guess}']
    known = {key: value for key, value in cfg.items() if key not in extra}
    return argument_faults(registry.module_dict[cfg["type"]], known, path, dict.fromkeys(injected))
