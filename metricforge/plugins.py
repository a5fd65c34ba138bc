"""Third-party components: modules that distributions announce under the entry-point group ``metricforge.plugins``.

Importing such a module registers its components; an entry point ``module:function`` is called too, and of
``module:Class`` the class is registered if its module does not do it. A broken plug-in is named with everything that it
registered taken back, and the others work all the same.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import inspect
import time
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from metricforge.component_source import Source, announced_sources, sources_of
from metricforge.config_files import PLUGIN_GROUP
from metricforge.errors import PluginError, RegistrationError
from metricforge.registration_checks import kind_of, refusal, registry_name, with_article
from metricforge.registry import HOOKS, KINDS, Registry
from metricforge.version import CONTRACT, OLDEST_CONTRACT, __version__

GROUP = PLUGIN_GROUP
REGISTRIES = {**KINDS, "hook": HOOKS}
DECLARATION = "METRICFORGE_CONTRACT"
SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plug-in: what it registered, or why it failed to load.

    Args:
        name: of its entry point.
        distribution: that announces it.
        version: of the distribution.
        module: what the entry point names.
        registers: kind and name of each of its components.
        error: why it failed to load; empty if it did not.
        notes: what else a person should know, such as which names of others it replaces.
        seconds: how long it took to import.
        contract: the version of the contract that it declares; None if it declares none.
        key: what stands before ``::`` in a type that means one of its components.
    """

    name: str
    distribution: str
    version: str
    module: str
    registers: tuple[tuple[str, str], ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    contract: int | None = None
    key: str = ""


@functools.cache
def load_plugins() -> tuple[Plugin, ...]:
    """Import every installed plug-in, once per process, and return them sorted by name.

    A plug-in that fails is warned about with its distribution and the reason; ``metricforge plugins`` lists it too.

    Examples:
        >>> plugins = load_plugins()
        >>> [plugin.name for plugin in plugins if plugin.error]
        []
    """
    announced_sources.cache_clear()
    for registry in REGISTRIES.values():
        registry.import_from_location()
    entries = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    Registry.load_plugins = staticmethod(tuple)  # a plug-in that looks a name up while it loads must not start over
    try:
        loaded = [(source, _load(entry, source)) for source, entry in sources_of(entries)]
    finally:
        Registry.load_plugins = staticmethod(load_plugins)
    # what several have is known once all of them are loaded
    plugins = tuple(plugin if plugin.error else _with_registered(plugin, source) for source, plugin in loaded)
    for plugin in plugins:
        whose = f"plug-in {plugin.name} ({plugin.distribution} {plugin.version})"
        if plugin.error:
            warnings.warn(
                f"{whose} failed to load: {plugin.error}; its components are missing, all others work", stacklevel=2
            )
        for note in plugin.notes:
            warnings.warn(f"{whose}: {note}", stacklevel=2)
    return plugins


def _load(entry: importlib.metadata.EntryPoint, source: Source) -> Plugin:
    plugin = Plugin(entry.name, source.distribution, source.version, entry.value, key=source.name)
    before, begun = dict(HOOKS.module_dict), time.perf_counter()
    Registry.loading = source
    error = ""
    try:
        declared = declared_contract(source.module)
        plugin = replace(plugin, contract=declared)
        _check_contract(declared)
        _register(entry.load(), source)
        _check_hooks(before, source)
    except SystemExit as fault:
        error = f"it ends the process while it is imported (SystemExit: {fault.code})"
    except PluginError as fault:
        error = str(fault)
    except Exception as fault:  # a plug-in is foreign code: whatever it raises is its own, and is reported
        error = f"{type(fault).__name__}: {fault}"
    finally:
        Registry.loading = None
    seconds = time.perf_counter() - begun
    if error:
        for registry in REGISTRIES.values():
            registry.withdraw(source)
    slow = f"took {seconds:.1f} s to import; what is heavy can be imported where it is used"
    return replace(plugin, error=error, seconds=seconds, notes=(slow,) if seconds > SLOW_SECONDS else ())


def _with_registered(plugin: Plugin, source: Source) -> Plugin:
    registers = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names_of(source)]
    replaced = tuple(
        f"replaces the {kind} {name} (force=True); the replaced one is {other}"
        for kind, registry in REGISTRIES.items()
        for name, other in registry.replaced_by(source)
    )
    second = tuple(
        f"its {kind} {name} is {own} in configs: MetricForge itself has a {name}"
        for kind, registry in REGISTRIES.items()
        for name, own in registry.second_to(source)
    )
    return replace(plugin, registers=tuple(sorted(registers)), notes=plugin.notes + replaced + second)


def _register(announced: Any, source: Source) -> None:
    """Do what the object of an entry point asks for, beyond the import of its module."""
    if isinstance(announced, type):
        if any(announced in registry.module_dict.values() for registry in REGISTRIES.values()):
            return
        kind = kind_of(announced)
        if kind is None:
            raise PluginError(
                f"the entry point names the class {announced.__name__}, of which no kind can be told; register it by a "
                "decorator such as @HEADS.register_module(), and name its module"
            )
        why = refusal(kind, announced)
        if why:
            raise RegistrationError(f"{source}: {registry_name(kind)} cannot register {announced.__name__}: {why}")
        REGISTRIES[kind]._admit(announced.__name__, announced, source, force=False)
    elif inspect.isroutine(announced):
        announced()
    elif not isinstance(announced, ModuleType):
        raise PluginError(
            f"the entry point names {with_article(type(announced).__name__)}; it must name a module, a class, or a "
            "function without arguments that registers classes"
        )


def _check_hooks(before: dict[str, Any], source: Source) -> None:
    """Refuse what came into mmengine's own registry, which checks nothing, and is no hook."""
    for name, hook in HOOKS.module_dict.items():
        why = None if before.get(name) is hook else refusal("hook", hook)
        if why:
            del HOOKS.module_dict[name]
            raise RegistrationError(f"{source}: HOOKS cannot register {name}: {why}")


def declared_contract(module: str) -> int | None:
    """The version of the contract that ``module`` declares by ``METRICFORGE_CONTRACT = 1``; None if it declares none.

    It is read without importing the module: one for another version may not be importable.

    Raises:
        PluginError: if it is no integer.
    """
    file = _source_file(module)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # the import will say what is wrong
    for node in tree.body:
        names = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(name, ast.Name) and name.id == DECLARATION for name in names):
            value = node.value  # type: ignore[attr-defined]
            if isinstance(value, ast.Constant) and type(value.value) is int:
                return value.value
            raise PluginError(f"{DECLARATION} must be an integer such as {CONTRACT}, in {file}")
    return None


def _source_file(module: str) -> Path | None:
    package, *inner = module.split(".")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *inner)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _check_contract(declared: int | None) -> None:
    if declared is None or OLDEST_CONTRACT <= declared <= CONTRACT:
        return
    if declared > CONTRACT:
        raise PluginError(
            f"it is written for version {declared} of the plug-in contract, and MetricForge {__version__} has version "
            f"{CONTRACT}; upgrade metricforge, or install an older version of the plug-in"
        )
    raise PluginError(
        f"it is written for version {declared} of the plug-in contract, and MetricForge {__version__} supports "
        f"{OLDEST_CONTRACT} to {CONTRACT}; upgrade the plug-in, or install an older metricforge"
    )


Registry.load_plugins = staticmethod(load_plugins)
