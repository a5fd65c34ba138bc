"""Everything that an installed plug-in registers, checked against the contract of its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metricforge import testing
from metricforge.config import read_config
from metricforge.config_files import installed_configs
from metricforge.errors import ConfigError, MetricForgeError, PluginError
from metricforge.plugins import REGISTRIES, Plugin, load_plugins
from metricforge.spelling import nearest

LABELS = np.repeat(np.arange(64), 8)
GROUPS = np.arange(64).repeat(8) // 4
SIZES = dict(dim=8, num_classes=4)
DERIVED: Mapping[str, Mapping[str, Any]] = {
    "backbone": {},
    "head": dict(feature_dim=16),
    "dataset": {},
    "transform": {},
    "hook": {},
    "sampler": dict(labels=LABELS, groups=GROUPS, seed=0, rank=0, world_size=1),
}


@dataclass(frozen=True)
class ComponentCheck:
    """What came of checking one component.

    Args:
        kind: such as "loss".
        name: its type.
        fault: the clause of the contract that it breaks, or why it cannot be built; empty if there is none.
    """

    kind: str
    name: str
    fault: str = ""


def check_plugin(name: str) -> list[ComponentCheck]:
    """Check each component of the installed plug-in ``name``.

    A component is built with the arguments that a config of the plug-in's package gives it, or with none but those that
    the framework fills in.

    Args:
        name: of the entry point or the distribution.

    Raises:
        PluginError: if there is no such plug-in, it failed to load, or it registers nothing.
    """
    plugins = _find(name)
    broken = [plugin for plugin in plugins if plugin.error]
    if broken:
        raise PluginError("\n".join(f"{plugin.name} ({plugin.distribution}): {plugin.error}" for plugin in broken))
    components = [(plugin, kind, component) for plugin in plugins for kind, component in plugin.registers]
    if not components:
        raise PluginError(f"{name} registers nothing; decorate its classes, such as by @LOSSES.register_module()")
    return [_check(plugin, kind, component) for plugin, kind, component in components]


def _find(name: str) -> list[Plugin]:
    installed = load_plugins()
    wanted = _normal(name)
    found = [
        plugin for plugin in installed if wanted in map(_normal, (plugin.name, plugin.distribution, plugin.module))
    ]
    if not found:
        known = sorted({plugin.name for plugin in installed})
        raise PluginError(f'no plug-in "{name}" is installed{nearest(name, known)}')
    return found


def _normal(name: str) -> str:
    """A distribution's name as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _check(plugin: Plugin, kind: str, name: str) -> ComponentCheck:
    registry = REGISTRIES[kind]
    derived = DERIVED.get(kind, SIZES)
    arguments = {key: value for key, value in next(_examples(plugin, name), {}).items() if key not in derived}
    try:
        component = registry.build({**arguments, "type": name}, path=name, **derived)
    except MetricForgeError as fault:
        faults = "; ".join(fault.faults) if isinstance(fault, ConfigError) else str(fault)
        package = plugin.module.partition(":")[0].partition(".")[0]
        return ComponentCheck(
            kind, name, f"cannot be built: {faults} (a config in the folder {package}/configs says with what arguments)"
        )
    try:
        _checks(kind)(component)
    except AssertionError as fault:
        return ComponentCheck(kind, name, str(fault))
    return ComponentCheck(kind, name)


def _checks(kind: str) -> Callable[[Any], None]:
    """The check of a ``kind``, of the sizes that its components are built with here."""
    checks: dict[str, Callable[[Any], None]] = {
        "backbone": lambda part: testing.check_backbone(part, image_size=max(part.input_size or (64,))),
        "evaluator": lambda part: testing.check_evaluator(part, images=256),
        "loss": lambda part: testing.check_loss(part, **SIZES),
        "similarity": lambda part: testing.check_similarity(part, symmetric=part.symmetric),
        "transform": lambda part: testing.check_transform(part, height=256, width=320),
    }
    check: Callable[[Any], None] = checks.get(kind) or getattr(testing, f"check_{kind}")
    return check


def _examples(plugin: Plugin, name: str) -> Iterator[dict[str, Any]]:
    """The arguments that the configs of the plug-in's package give to the type ``name``."""
    package = plugin.module.partition(":")[0].partition(".")[0]
    for config in installed_configs():
        if config.name.startswith(f"{package}::"):
            yield from _arguments_of(name, read_config(config.file).to_dict())


def _arguments_of(name: str, value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("type") in (name, name.rpartition("::")[2]):
            yield {key: item for key, item in value.items() if key not in ("type", "priority")}
        for item in value.values():
            yield from _arguments_of(name, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _arguments_of(name, item)
