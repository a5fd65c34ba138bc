"""Third-party components: modules that distributions announce under the entry-point group ``metricforge.plugins``.

Importing such a module registers its components. A broken plug-in is named, and the others work all the same.
"""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from dataclasses import dataclass

from metricforge.config_files import PLUGIN_GROUP
from metricforge.registry import KINDS, Registry

GROUP = PLUGIN_GROUP


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plug-in: what it registered, or why it failed to load (``error`` is empty if it did not)."""

    name: str
    distribution: str
    version: str
    module: str
    registers: tuple[tuple[str, str], ...]
    error: str = ""


@functools.cache
def load_plugins() -> tuple[Plugin, ...]:
    """Import every installed plug-in, once per process, and return them sorted by name.

    A plug-in that fails is warned about with its distribution and the reason; ``metricforge plugins`` lists it too.

    Examples:
        >>> plugins = load_plugins()
        >>> [plugin.name for plugin in plugins if plugin.error]
        []
    """
    Registry.load_plugins = staticmethod(
        lambda: None
    )  # a plug-in that looks a name up while it loads must not start over
    loaded = tuple(_load(entry) for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name))
    for plugin in loaded:
        if plugin.error:
            warnings.warn(
                f"plug-in {plugin.name} ({plugin.distribution} {plugin.version}) failed to load: {plugin.error}; "
                "its components are missing, all others work",
                stacklevel=2,
            )
    return loaded


def _load(entry: importlib.metadata.EntryPoint) -> Plugin:
    for registry in KINDS.values():
        registry.import_from_location()
    before = _registered()
    error = ""
    try:
        entry.load()
    except Exception as fault:  # a plug-in is foreign code: whatever it raises is its own, and is reported
        error = f"{type(fault).__name__}: {fault}"
    return Plugin(
        name=entry.name,
        distribution=entry.dist.name if entry.dist else "unknown",
        version=entry.dist.version if entry.dist else "unknown",
        module=entry.value,
        # a module that was imported before, by a test for instance, registered its classes then
        registers=tuple(
            sorted((_registered() - before) | _registered(entry.value.partition(":")[0].partition(".")[0]))
        ),
        error=error,
    )


def _registered(package: str | None = None) -> set[tuple[str, str]]:
    """(kind, name) of everything registered, or only what the classes of ``package`` are registered as."""
    return {
        (kind, name)
        for kind, registry in KINDS.items()
        for name, cls in registry.module_dict.items()
        if package is None or cls.__module__.partition(".")[0] == package
    }


Registry.load_plugins = staticmethod(load_plugins)
