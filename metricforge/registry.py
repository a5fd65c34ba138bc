"""One registry class and the named registries: how a ``type=`` in a config becomes an object.

Built on mmengine's registry, and narrower: a name is found if and only if a core module or an installed plug-in
registered it. (mmengine's own falls back to importing any dotted or stdlib name: ``type="json"`` gives a module.)
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import mmengine

from metricforge.argument_types import misfit, plain_annotations
from metricforge.errors import ConfigError, UnknownTypeError
from metricforge.spelling import nearest

# Which distribution of ours has a type, so that a config which needs it can say what to install.
# The tests of each plug-in compare this with what it registers.
FIRST_PARTY_TYPES = {
    "LiftedStructureLoss": "metricforge-lifted",
    "LiftedStructureMiner": "metricforge-lifted",
    "DifficultNeighbourBatchSampler": "metricforge-lifted",
    "PairListBatchSampler": "metricforge-lifted",
    "PDDM": "metricforge-pddm",
    "LMDM": "metricforge-pddm",
    "HardQuadrupletMiner": "metricforge-pddm",
    "HardPairTripletMiner": "metricforge-pddm",
    "DoubleHeaderHingeLoss": "metricforge-pddm",
    "NormSoftmaxLoss": "metricforge-normsoftmax",
}
# The same for a distribution that has too many types to list: all of them begin so.
FIRST_PARTY_PREFIXES = {"pml.": "metricforge-pml"}


def _load_installed_plugins() -> None:
    # by name, as the registries' own modules: a look-up is what loads plug-ins, and they need the registries first
    import_module("metricforge.plugins").load_plugins()


class Registry(mmengine.Registry):
    """Maps the names of one kind of component to classes; its modules are imported on the first look-up.

    Examples:
        >>> from metricforge import LOSSES
        >>> loss = LOSSES.build(dict(type="TripletLoss", margin=0.3))
        >>> loss.margin
        0.3
        >>> LOSSES.build(dict(type="TripletLoss", margn=0.3))
        Traceback (most recent call last):
        metricforge.errors.ConfigError: ...
    """

    load_plugins: ClassVar[Callable[[], object]] = staticmethod(_load_installed_plugins)

    def __init__(self, kind: str, location: str) -> None:
        super().__init__(kind, scope="metricforge", locations=[location])
        self._left_out: dict[str, str] = {}

    def leave_out(self, name: str, why: str) -> None:
        """Record that ``name`` is not registered on purpose; the error for it gives ``why`` and the way out."""
        self._left_out[name] = why

    def names(self) -> list[str]:
        """All registered names, sorted, with the installed plug-ins' among them."""
        self.import_from_location()
        Registry.load_plugins()
        return sorted(self._module_dict)

    def get(self, key: str) -> Any:
        """The class registered as ``key``.

        Raises:
            UnknownTypeError: if there is none; it names the nearest registered name, or the plug-in to install.
        """
        if not isinstance(key, str) or key not in self.names():
            raise UnknownTypeError(self._unknown(key))
        return self._module_dict[key]

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
                arguments[name] = _build_nested(nested[name], value, _join(path, name), derived)
            elif name in KINDS and is_component(value):
                arguments[name] = KINDS[name].build(value, path=_join(path, name), **derived)
            elif _is_component_list(name, value):
                registry = KINDS[name.removesuffix("s")]
                arguments[name] = [
                    registry.build(item, path=f"{_join(path, name)}[{number}]", **derived)
                    for number, item in enumerate(value)
                ]
        arguments |= {name: value for name, value in derived.items() if accepted is not None and name in accepted}
        try:
            return cls(**arguments)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError([f"{path or self.name}: {error}"]) from error

    def faults(self, cfg: Any, path: str, derived: Mapping[str, Any]) -> list[str]:
        """Everything wrong with ``cfg`` that can be seen without building it, one message a fault."""
        where = path or self.name
        if not isinstance(cfg, Mapping) or "type" not in cfg:
            return [f"{where}: {cfg!r} must be a dict with a type, such as dict(type={self.names()[0]!r})"]
        if cfg["type"] not in self.names():
            return [f"{_join(path, 'type')}: {self._unknown(cfg['type'])}"]
        cls = self.get(cfg["type"])
        faults = argument_faults(cls, cfg, where, derived)
        nested = getattr(cls, "nested", {})
        for name, value in cfg.items():
            if name in nested:
                faults += _nested_faults(nested[name], value, _join(path, name), derived)
            elif name in KINDS and is_component(value):
                faults += KINDS[name].faults(value, _join(path, name), derived)
            elif _is_component_list(name, value):
                registry = KINDS[name.removesuffix("s")]
                for number, item in enumerate(value):
                    faults += registry.faults(item, f"{_join(path, name)}[{number}]", derived)
        return faults

    def _unknown(self, key: object) -> str:
        if key in self._left_out:
            return f'"{key}" is not a {self.name} here: {self._left_out[str(key)]}'
        of_kinds = [kind for kind, registry in KINDS.items() if registry is not self and key in registry.names()]
        if of_kinds:
            return f'"{key}" is a {" and a ".join(of_kinds)}, not a {self.name}'
        distribution = _absent_distribution(str(key))
        if distribution:
            return (
                f'"{key}" comes with the plug-in {distribution}, which is not installed or failed to load; '
                f"`metricforge plugins` tells which, `pip install {distribution}` installs it "
                f"(in a checkout: pip install -e plugins/{distribution.removeprefix('metricforge-')})"
            )
        return f'"{key}" is not a registered {self.name};{nearest(str(key), self.names(), _families(self.names()))}'


def _absent_distribution(key: str) -> str | None:
    """Which distribution of ours has the type ``key`` that is not registered; None if none has, or it is loaded."""
    for prefix, distribution in FIRST_PARTY_PREFIXES.items():
        loaded = any(name.startswith(prefix) for registry in KINDS.values() for name in registry.module_dict)
        if key.startswith(prefix) and not loaded:
            return distribution
    return FIRST_PARTY_TYPES.get(key)


def _build_nested(registry: Registry, value: Any, path: str, derived: Mapping[str, Any]) -> Any:
    if is_component(value):
        return registry.build(value, path=path, **derived)
    if isinstance(value, Mapping):
        return {key: _build_nested(registry, part, _join(path, key), derived) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_build_nested(registry, part, f"{path}[{number}]", derived) for number, part in enumerate(value)]
    return value


def _nested_faults(registry: Registry, value: Any, path: str, derived: Mapping[str, Any]) -> list[str]:
    if is_component(value):
        return registry.faults(value, path, derived)
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(_join(path, key), part) for key, part in value.items()]
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


def is_component(value: Any) -> bool:
    """Whether a config value describes a component: a dict with a ``type``."""
    return isinstance(value, Mapping) and "type" in value


def _is_component_list(name: str, value: Any) -> bool:
    """Whether ``value`` is a list of components of the kind whose plural is ``name``."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return (
        is_list and name.endswith("s") and name.removesuffix("s") in KINDS and any(is_component(item) for item in value)
    )


def accepted_arguments(cls: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The arguments that a config may give ``cls``; None if it takes any (``**kwargs``).

    A constructor that passes ``**kwargs`` on is followed up to the base class that names them. Whether it fills in what
    that class requires cannot be seen, so those arguments count as optional. A class with ``further_arguments`` has its
    own here; which others a config may give it, that class method says of the config.
    """
    accepted: dict[str, inspect.Parameter] = {}
    passed_on = False
    constructors = (
        [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)] if isinstance(cls, type) else [cls]
    )
    for constructor in constructors:
        parameters = [p for p in inspect.signature(constructor).parameters.values() if p.name != "self"]
        hints = plain_annotations(constructor)
        positional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        for parameter in parameters:
            if parameter.kind not in positional:
                parameter = parameter.replace(annotation=hints.get(parameter.name, Any))
                accepted.setdefault(parameter.name, parameter.replace(default=None) if passed_on else parameter)
        takes_more = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        if not takes_more or hasattr(cls, "further_arguments"):  # which says what ``**kwargs`` may be
            return accepted
        passed_on = True
    return None


def argument_faults(
    cls: Callable[..., Any], cfg: Mapping[str, Any], path: str, derived: Mapping[str, Any]
) -> list[str]:
    """Unknown, missing and contradicting arguments of ``cfg`` for ``cls``, one message a fault."""
    accepted = accepted_arguments(cls)
    if accepted is None:
        return []
    faults = []
    known = list(accepted)
    judged = True
    if hasattr(cls, "further_arguments"):
        further = cls.further_arguments(cfg)
        judged = further is not None
        known = list(dict.fromkeys([*known, *(further or ())]))
    for name in cfg:
        if name != "type" and name not in accepted:
            if judged and name not in known:
                faults.append(f"{_join(path, name)}: {cfg['type']} has no such argument;{nearest(name, known)}")
        elif name != "type" and (allowed := misfit(cfg[name], accepted[name])):
            faults.append(f"{_join(path, name)}: {cfg[name]!r} must be {allowed}")
    for name, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and name not in cfg and name not in derived:
            faults.append(f"{_join(path, name)}: {cfg['type']} needs this argument and has no default for it")
    for name, value in derived.items():
        if name in cfg and name in accepted and value is not None and cfg[name] != value:
            faults.append(
                f"{_join(path, name)}: {cfg[name]!r} contradicts {value!r}, which the data set or the model says; "
                "leave it out, it is filled in"
            )
    return faults


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


BACKBONES = Registry("backbone", "metricforge.backbones")
HEADS = Registry("head", "metricforge.heads")
SIMILARITIES = Registry("similarity", "metricforge.similarities")
MINERS = Registry("miner", "metricforge.miners")
LOSSES = Registry("loss", "metricforge.losses")
EVALUATORS = Registry("evaluator", "metricforge.evaluators")
CLUSTERINGS = Registry("clustering", "metricforge.clusterings")
DATASETS = Registry("dataset", "metricforge.datasets")
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
