"""Who registered a component: MetricForge itself, an installed plug-in, or a module of the user's own."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections import Counter
from dataclasses import dataclass

from metricforge.config_files import PLUGIN_GROUP

BUILT_IN = ("metricforge", "mmengine")
SEPARATOR = "::"


@dataclass(frozen=True, slots=True)
class Source:
    """Who registered a component.

    Args:
        name: what stands before ``::`` in a qualified type, such as ``demo::DemoLoss``.
        distribution: what pip knows it by; empty for a module that no plug-in announces.
        version: of the distribution.
        module: what announces its components; empty for MetricForge's own.
    """

    name: str
    distribution: str = ""
    version: str = ""
    module: str = ""

    @property
    def is_built_in(self) -> bool:
        """Whether it comes with MetricForge."""
        return self.name in BUILT_IN and not self.module

    def qualify(self, name: str) -> str:
        """Return the type that means this source's component ``name``, whoever else has one of that name."""
        return f"{self.name}{SEPARATOR}{name}"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip() or f"the module {self.name}"


@functools.cache
def announced_sources() -> tuple[Source, ...]:
    """The source behind each entry point of the group ``metricforge.plugins``, by name.

    An entry point's name that two distributions have is no way to tell them apart: theirs is the distribution's.
    """
    entries = sorted(importlib.metadata.entry_points(group=PLUGIN_GROUP), key=lambda entry: entry.name)
    return tuple(source for source, _ in sources_of(entries))


def sources_of(
    entries: list[importlib.metadata.EntryPoint],
) -> list[tuple[Source, importlib.metadata.EntryPoint]]:
    """Pair each of ``entries`` with its source."""
    count = Counter(entry.name for entry in entries)
    paired = []
    for entry in entries:
        distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "unknown")
        name = entry.name if count[entry.name] == 1 and entry.name not in BUILT_IN else distribution
        paired.append((Source(name, distribution, version, entry.value.partition(":")[0]), entry))
    return paired


def source_of_module(module: str, loading: Source | None = None) -> Source:
    """The source whose module ``module`` is.

    Args:
        module: a dotted name.
        loading: the plug-in that is being loaded, whose helpers may be in any package.
    """
    package = module.partition(".")[0]
    if package in BUILT_IN:
        return Source(package, package)
    own = [source for source in announced_sources() if f"{module}.".startswith(f"{source.module}.")]
    if loading in own:
        return loading  # two entry points may name one module
    beside = [source for source in announced_sources() if source.module.partition(".")[0] == package]
    found = sorted(own, key=lambda source: len(source.module), reverse=True) or ([loading] if loading else beside)
    return found[0] if found else Source(package)


def calling_module() -> str:
    """The name of the module that called into the registries."""
    frame = sys._getframe(1)
    inside = ("mmengine.registry", "metricforge.registry")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inside):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))
