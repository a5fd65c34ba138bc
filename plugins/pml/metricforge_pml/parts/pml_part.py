"""Parts of losses that no model has by itself (reducers, regularizers, initialisers): registered as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from metricforge import Registry
from metricforge_pml.constructors import construct, our_arguments, signature_of
from metricforge_pml.parts.registries import NESTED


def register_part(registry: Registry, name: str, part: Callable[..., Any], parameters: Mapping[str, Parameter]) -> None:
    """Register a function of ``parameters``, and of no other argument, that returns what ``part`` makes of them."""
    signature = signature_of(parameters, method=False)

    def build(**arguments: Any) -> Any:
        signature.bind(**arguments)  # a TypeError names what is missing or not known
        return part(arguments)

    build.__name__ = build.__qualname__ = name
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.nested = NESTED  # type: ignore[attr-defined]
    registry.register_module(name=name, module=build)


def register_pml_part(registry: Registry, name: str, pml_class: type) -> None:
    """Register ``pml_class`` as ``name``; a config's build of it is the object of pytorch-metric-learning itself."""
    register_part(registry, name, lambda arguments: construct(pml_class, arguments), our_arguments(pml_class))
