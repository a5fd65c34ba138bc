"""One registry class and the named registries: how a ``type=`` in a config becomes an object.

Built on mmengine's registry, and narrower: a name is found if and only if a core module or an installed plug-in
registered it. (mmengine's own falls back to importing any dotted or stdlib name: ``type="json"`` gives a module.)
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import mmengine
import mmengine.registry

from metricforge.absent_types import absent_type
from metricforge.argument_types import judge_annotations_of
from metricforge.component_arguments import (
    accepted_arguments,
    argument_faults,
    further_value_faults,
    is_component,
    join_path,
    plain_message,
    value_faults,
)
from metricforge.component_source import SEPARATOR, Source, calling_module, source_of_module
from metricforge.errors import ConfigError, MetricForgeError, PluginError, RegistrationError, UnknownTypeError
from metricforge.registration_checks import name_refusal, not_decorated, refusal, registry_name, with_article
from metricforge.spelling import nearest

# Their constructors read files or fill networks with weights: no place to try arguments one by one.
_SLOW_TO_BUILD = ("backbone", "dataset")


def _load_installed_plugins() -> Sequence[Any]:
    # by name, as the registries' own modules: a look-up is what loads plug-ins, and they need the registries first
    plugins: Sequence[Any] = import_module("metricforge.plugins").load_plugins()
    return plugins


class Registry(mmengine.Registry):
    """Maps the names of one kind of component to classes; its modules are imported on the first look-up.

    A name that two plug-ins register belongs to neither: ``demo::DemoLoss`` chooses that of the plug-in demo. One
    that MetricForge itself has stays its own, and the plug-in's is ``demo::DemoLoss``.
    What is not a class of this kind is refused with a ``RegistrationError`` that names who registers it.

    Examples:
        >>> from metricforge import LOSSES
        >>> loss = LOSSES.build(dict(type="TripletLoss", margin=0.3))
        >>> loss.margin
        0.3
        >>> LOSSES.build(dict(type="TripletLoss", margn=0.3))
        Traceback (most recent call last):
        metricforge.errors.ConfigError: ...
    """

    load_plugins: ClassVar[Callable[[], Sequence[Any]]] = staticmethod(_load_installed_plugins)
    loading: ClassVar[Source | None] = None  # the plug-in that is being loaded

    def __init__(self, kind: str, location: str) -> None:
        super().__init__(kind, scope="metricforge", locations=[location])
        self._left_out: dict[str, str] = {}
        self._sources: dict[str, tuple[Any, Source]] = {}

    def leave_out(self, name: str, why: str) -> None:
        """Record that ``name`` is not registered on purpose; the error for it gives ``why`` and the way out."""
        self._left_out[name] = why

    def names(self) -> list[str]:
        """All registered names, sorted, with the installed plug-ins' among them."""
        self.import_from_location()
        Registry.load_plugins()
        return sorted(self._module_dict)

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def get(self, key: str) -> Any:
        """The class registered as ``key``, which may say whose it is: ``demo::DemoLoss``.

        Raises:
            UnknownTypeError: if there is none; it names the nearest registered name, or the plug-in to install. Also if
                two plug-ins have one of that name; it names both.
        """
        found = self._find(key)
        if found is None:
            raise UnknownTypeError(self._unknown(key))
        return self._module_dict[found]

    def source_of(self, key: str) -> Source:
        """Who registered ``key``, which is a registered name."""
        component, source = self._sources.get(key, (None, None))
        if source is None or component is not self._module_dict[key]:
            return source_of_module(getattr(self._module_dict[key], "__module__", "") or "")
        return source

    def source_of_type(self, key: str) -> Source | None:
        """Whose component the type ``key`` is; None for one that is not registered or comes with MetricForge."""
        found = self._find(key)
        source = None if found is None else self.source_of(found)
        return None if source is None or source.is_built_in else source

    def names_of(self, source: Source) -> list[str]:
        """The names that ``source`` has registered, sorted."""
        return sorted(key for key in self._module_dict if self.source_of(key) == source)

    def replaced_by(self, source: Source) -> list[tuple[str, str]]:
        """The names that ``source`` took over with ``force=True``, each with the type that means the replaced one."""
        return [(name, key) for name in self.names_of(source) if SEPARATOR not in name for key in self._qualified(name)]

    def second_to(self, source: Source) -> list[tuple[str, str]]:
        """The types of ``source`` whose bare name MetricForge itself has, each after that name."""
        split = [(key.partition(SEPARATOR)[2], key) for key in self.names_of(source) if SEPARATOR in key]
        return [(name, key) for name, key in split if name in self._module_dict and self.source_of(name).is_built_in]

    def withdraw(self, source: Source) -> None:
        """Forget everything that ``source`` registered; what it took a name from has it back."""
        for key in self.names_of(source):
            del self._module_dict[key]
        for key in [key for key in self._module_dict if SEPARATOR in key]:
            name = key.partition(SEPARATOR)[2]
            if name not in self._module_dict and len(self._qualified(name)) == 1:
                owner = self.source_of(key)
                self._enter(name, self._module_dict.pop(key), owner)

    def _register_module(self, module: Any, module_name: str | list[str] | None = None, force: bool = False) -> None:
        source = source_of_module(calling_module(), Registry.loading)
        names = [module_name] if isinstance(module_name, str) else module_name or [getattr(module, "__name__", "")]
        why = refusal(self.name, module) or next(filter(None, map(name_refusal, names)), None)
        if why:
            shown = getattr(module, "__qualname__", None) or repr(module)
            raise RegistrationError(f"{source}: {registry_name(self.name)} cannot register {shown}: {why}")
        if not source.is_built_in:
            self.import_from_location()  # so that the names of the core are known to be taken
            judge_annotations_of(calling_module())
        for name in names:
            self._admit(name, module, source, force=force)

    def _admit(self, name: str, component: Any, source: Source, *, force: bool) -> None:
        holder, qualified = self._module_dict.get(name), source.qualify(name)
        if holder is component:
            return
        if holder is None and not self._qualified(name):
            self._enter(name, component, source)
            return
        if holder is None:  # several have it already
            if qualified in self._module_dict and not force:
                raise RegistrationError(self._taken(name, source, source))
            self._enter(qualified, component, source)
            return
        owner = self.source_of(name)
        if force:
            if owner != source:
                self._enter(owner.qualify(name), holder, owner)
                if Registry.loading is None:
                    warnings.warn(self.replacement(name, source), stacklevel=5)
            self._enter(name, component, source)
        elif owner.is_built_in and source.distribution:  # the core may have got it after the plug-in was written
            self._enter(qualified, component, source)
        elif owner == source or owner.is_built_in:
            raise RegistrationError(self._taken(name, source, owner))
        else:
            del self._module_dict[name]
            self._enter(owner.qualify(name), holder, owner)
            self._enter(qualified, component, source)

    def _enter(self, key: str, component: Any, source: Source) -> None:
        self._module_dict[key] = component
        self._sources[key] = component, source

    def _taken(self, name: str, source: Source, owner: Source) -> str:
        whose = "already registered by it" if owner == source else f"already registered, by {owner}"
        return (
            f"{source}: the {self.name} {name} is {whose}; take another name, or replace it for everybody "
            "with register_module(force=True)"
        )

    def replacement(self, name: str, source: Source) -> str:
        """What is to be said of ``name``, which ``source`` took over with ``force=True``."""
        others = " and ".join(self._qualified(name))
        return f"{source} replaces the {self.name} {name} (force=True); the replaced one is {others}"

    def _qualified(self, name: str) -> list[str]:
        """The types that say whose ``name`` is meant, where several have it."""
        return sorted(key for key in self._module_dict if key.partition(SEPARATOR)[1:] == (SEPARATOR, name))

    def _find(self, key: object) -> str | None:
        """The registered name that ``key`` means."""
        if not isinstance(key, str):
            return None
        self.names()
        owner, separator, name = key.partition(SEPARATOR)
        if key in self._module_dict or not separator:
            return key if key in self._module_dict else None
        held = [each for each in (name, *self._qualified(name)) if each in self._module_dict]
        return next((each for each in held if owner in _names_of_source(self.source_of(each))), None)

    def build(self, cfg: Mapping[str, Any], *, path: str = "", **derived: Any) -> Any:
        """Build the object that ``cfg`` describes: ``type``, and the constructor's arguments.

        Args:
            cfg: ``dict(type="TripletLoss", margin=0.2)``; values that are such dicts under a key naming a kind
                (``loss``, ``similarity``, ...) are built first, and so are those in a list under its plural
                (``evaluators``), and those, alone or in lists and dicts, under a key for which the class's attribute
                ``nested`` has a registry.
            path: where ``cfg`` stands in the config, for error messages.
            **derived: what the framework knows (``num_classes``, ``dim``, ...); each is handed over if the constructor
                has an argument of that name.

        Raises:
            ConfigError: for an unknown type or argument, a missing one, or a value that contradicts a derived one.
        """
        faults = self.faults(cfg, path, derived)
        if faults:
            raise ConfigError(faults)
        arguments = {key: value for key, value in cfg.items() if key != "type"}
        cls = self.get(cfg["type"])
        accepted = accepted_arguments(cls)
        nested = getattr(cls, "nested", {})
        for name, value in arguments.items():
            if name in nested:
                arguments[name] = _build_nested(nested[name], value, join_path(path, name), derived)
            elif name in KINDS and is_component(value):
                arguments[name] = KINDS[name].build(value, path=join_path(path, name), **derived)
            elif _is_component_list(name, value):
                registry = KINDS[name.removesuffix("s")]
                arguments[name] = [
                    registry.build(item, path=f"{join_path(path, name)}[{number}]", **derived)
                    for number, item in enumerate(value)
                ]
        arguments |= {name: value for name, value in derived.items() if accepted is not None and name in accepted}
        try:
            return cls(**arguments)
        except MetricForgeError:
            raise
        except (ValueError, TypeError, OverflowError, ImportError) as error:
            refused = value_faults(cls, arguments, set(cfg)) if self.name not in _SLOW_TO_BUILD else []
            raise ConfigError([f"{path or self.name}: {fault}" for fault in refused or [_said(error, cls)]]) from error
        except Exception as error:
            source = self.source_of(self._find(cfg["type"]) or "")
            if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
                fault = f"{cfg['type']} does not fit into memory with these values; take smaller ones"
                raise ConfigError([f"{path or self.name}: {fault}"]) from error
            if source.is_built_in:
                raise
            blame = (
                "check the files and folders that the config names"
                if isinstance(error, OSError)
                else "this is a fault of that code, not of the config"
            )
            raise PluginError(
                f"{path or self.name}: {cfg['type']} of {source} fails: {type(error).__name__}: {error}; {blame}"
            ) from error

    def faults(self, cfg: Any, path: str, derived: Mapping[str, Any]) -> list[str]:
        """Everything wrong with ``cfg`` that can be seen without building it, one message a fault."""
        where = path or self.name
        if not isinstance(cfg, Mapping) or "type" not in cfg:
            return [f"{where}: {cfg!r} must be a dict with a type, such as dict(type={self.names()[0]!r})"]
        if cfg["type"] not in self:
            return [f"{join_path(path, 'type')}: {self._unknown(cfg['type'])}"]
        cls = self.get(cfg["type"])
        faults = argument_faults(cls, cfg, where, derived)
        if faults and self.name not in _SLOW_TO_BUILD:
            faults += [f"{where}: {fault}" for fault in further_value_faults(cls, cfg)]
        nested = getattr(cls, "nested", {})
        for name, value in cfg.items():
            if name in nested:
                faults += _nested_faults(nested[name], value, join_path(path, name), derived)
            elif name in KINDS and is_component(value):
                faults += KINDS[name].faults(value, join_path(path, name), derived)
            elif _is_component_list(name, value):
                registry = KINDS[name.removesuffix("s")]
                for number, item in enumerate(value):
                    faults += registry.faults(item, f"{join_path(path, name)}[{number}]", derived)
        return faults

    def _unknown(self, key: object) -> str:
        if not isinstance(key, str):
            return f"{key!r} must be the name of a {self.name}, in quotes; choose one of {self.names()}"
        if key in self._left_out:
            return f'"{key}" is not a {self.name} here: {self._left_out[str(key)]}'
        owner, separator, bare = str(key).partition(SEPARATOR)
        held = [each for each in (bare, *self._qualified(bare)) if each in self._module_dict] if separator else []
        if held:
            known = " and ".join(f"{self.source_of(each)} as {self.source_of(each).qualify(bare)}" for each in held)
            return f'"{key}": no plug-in {owner} registers a {self.name} {bare}; it is registered by {known}'
        several = self._qualified(str(key))
        if several:
            known = " and ".join(f"{self.source_of(each)} ({each})" for each in several)
            return f'"{key}" is registered by several plug-ins: {known}; write the one that is meant'
        of_kinds = [kind for kind, registry in KINDS.items() if registry is not self and key in registry]
        if of_kinds:
            return f'"{key}" is {" and ".join(map(with_article, of_kinds))}, not {with_article(self.name)}'
        absent = absent_type(str(key), [name for registry in KINDS.values() for name in registry.module_dict])
        if absent:
            return absent
        loaded = [plugin.module for plugin in Registry.load_plugins() if not plugin.error]
        undecorated = not_decorated(self.name, str(key), loaded)
        if undecorated:
            return undecorated
        failed = [f"{plugin.name} ({plugin.distribution})" for plugin in Registry.load_plugins() if plugin.error]
        beside = f"; failed to load, see `metricforge plugins`: {', '.join(failed)}" if failed else ""
        guess = nearest(str(key), self.names(), _families(self.names()))
        return f'"{key}" is not a registered {self.name}{guess}{beside}'


def _names_of_source(source: Source) -> tuple[str, ...]:
    return source.name, source.distribution, source.module


def _said(error: Exception, cls: Callable[..., Any]) -> str:
    """What a constructor's ``error`` says, with the class where only Python says it."""
    said = plain_message(error)
    return said if isinstance(error, ValueError) else f"{getattr(cls, '__name__', cls)}: {said}"


def _build_nested(registry: Registry, value: Any, path: str, derived: Mapping[str, Any]) -> Any:
    if is_component(value):
        return registry.build(value, path=path, **derived)
    if isinstance(value, Mapping):
        return {key: _build_nested(registry, part, join_path(path, key), derived) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_build_nested(registry, part, f"{path}[{number}]", derived) for number, part in enumerate(value)]
    return value


def _nested_faults(registry: Registry, value: Any, path: str, derived: Mapping[str, Any]) -> list[str]:
    if is_component(value):
        return registry.faults(value, path, derived)
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(join_path(path, key), part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    return [fault for where, part in parts for fault in _nested_faults(registry, part, where, derived)]


def _families(names: list[str]) -> list[str]:
    """``names`` with those of one plug-in's prefix, where they are many, as one entry that says where to see them."""
    prefixes = Counter(name.partition(".")[0] for name in names if "." in name)
    many = {prefix: count for prefix, count in prefixes.items() if count > 5}
    return [name for name in names if name.partition(".")[0] not in many or "." not in name] + [
        f"{count} {prefix}.* that `metricforge plugins --all` lists" for prefix, count in many.items()
    ]


def _is_component_list(name: object, value: Any) -> bool:
    """Whether ``value`` is a list of components of the kind whose plural is ``name``."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and name in {f"{kind}s" for kind in KINDS} and any(is_component(item) for item in value)


BACKBONES = Registry("backbone", "metricforge.backbones")
HEADS = Registry("head", "metricforge.heads")
SIMILARITIES = Registry("similarity", "metricforge.similarities")
MINERS = Registry("miner", "metricforge.miners")
LOSSES = Registry("loss", "metricforge.losses")
EVALUATORS = Registry("evaluator", "metricforge.evaluators")
# mmengine's own, by its other door: what is registered here is checked, and belongs to who registered it
HOOKS = Registry("hook", "metricforge.tracking")
HOOKS._module_dict = mmengine.registry.HOOKS._module_dict
CLUSTERINGS = Registry("clustering", "metricforge.clusterings")
DATASETS = Registry("dataset", "metricforge.datasets.components")
SAMPLERS = Registry("sampler", "metricforge.samplers")
TRANSFORMS = Registry("transform", "metricforge.transforms")

KINDS: dict[str, Registry] = {
    registry.name: registry
    for registry in (
        BACKBONES,
        HEADS,
        SIMILARITIES,
        MINERS,
        LOSSES,
        EVALUATORS,
        CLUSTERINGS,
        DATASETS,
        SAMPLERS,
        TRANSFORMS,
    )
}


def plugin_types(value: Any) -> dict[str, str]:
    """Which distribution has each type in ``value``, a config, that MetricForge itself does not have.

    A run records it, so that whoever lacks one of them is told what to install.
    """
    found: dict[str, str] = {}
    if is_component(value) and isinstance(value["type"], str):
        sources = {registry.source_of_type(value["type"]) for registry in (*KINDS.values(), HOOKS)}
        named = sorted(str(source) for source in sources if source is not None and source.distribution)
        if named:
            found[value["type"]] = " or ".join(named)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for part in parts:
        found |= plugin_types(part)
    return found
