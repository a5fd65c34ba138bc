"""Makes the adapter class of each class of pytorch-metric-learning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from inspect import Parameter
from types import ModuleType
from typing import Any

from metricforge import Loss, Miner, Registry
from metricforge_pml.constructors import PREFIX, explicit_constructor, our_arguments


def public_classes(module: ModuleType) -> dict[str, type]:
    """The classes that a subpackage of pytorch-metric-learning exports, by name."""
    return {name: cls for name, cls in vars(module).items() if inspect.isclass(cls) and not name.startswith("_")}


def register_adapter(
    registry: Registry, name: str, base: type, pml_class: type, module: str, extra: Mapping[str, Any] | None = None
) -> type:
    """A subclass of ``base`` for ``pml_class``, with all of its arguments, registered as ``pml.<name>``.

    Args:
        registry: where it is registered.
        name: of the new class, that of the adapted class.
        base: the adapter that does the calling.
        pml_class: the class of pytorch-metric-learning.
        module: the module that holds the new class under its name.
        extra: more class attributes.
    """
    parameters = our_arguments(pml_class)
    own = inspect.signature(base.__init__).parameters  # type: ignore[misc]
    for parameter in own.values():
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self":
            parameters[parameter.name] = parameter.replace(kind=Parameter.KEYWORD_ONLY)
    adapter = type(
        name,
        (base,),
        {
            "__doc__": f"``{name}`` of pytorch-metric-learning. {inspect.getdoc(base)}",
            "__module__": module,
            "__init__": explicit_constructor(base, parameters),
            "pml_class": pml_class,
            **(extra or {}),
        },
    )
    if issubclass(adapter, (Loss, Miner)):
        adapter.__name__ = (
            PREFIX + name
        )  # what errors, warnings and printed models call it; pickle goes by __qualname__
    registry.register_module(name=PREFIX + name, module=adapter)
    return adapter
