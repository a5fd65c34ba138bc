"""The arguments that a network of timm takes, read from its constructor's signature."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_type_hints

import timm

from metricforge.spelling import nearest

# What the backbone itself decides, or what would make a network whose output is no pooled feature.
NOT_OURS = {"num_classes", "device", "dtype", "cfg", "features_only", "kwargs", "self"}


def timm_arguments(name: str) -> list[str] | None:
    """The arguments of timm's network ``name``, sorted; None if timm has no such network or a file names it."""
    if ":" in name or not timm.is_model(name):
        return None
    entry = timm.model_entrypoint(name)
    return class_arguments(get_type_hints(entry).get("return"))


def class_arguments(network: Any) -> list[str] | None:
    """The arguments of the class ``network``; with those of the ``cfg`` that its ``**kwargs`` replace parts of."""
    if not isinstance(network, type):
        return None
    constructor = next(vars(base)["__init__"] for base in network.__mro__ if "__init__" in vars(base))
    parameters = inspect.signature(constructor).parameters
    names = {parameter.name for parameter in parameters.values() if parameter.kind is not parameter.VAR_POSITIONAL}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        cfg = get_type_hints(constructor).get("cfg")
        if dataclasses.is_dataclass(cfg):
            names |= {field.name for field in dataclasses.fields(cfg)}
        elif network.__base__ is not None and network.__base__.__module__.startswith("timm."):
            names |= set(class_arguments(network.__base__) or ())
        names -= {parameter.name for parameter in parameters.values() if parameter.kind is parameter.VAR_KEYWORD}
    return sorted(names - NOT_OURS)


def unknown_argument(network: str, argument: str, known: list[str]) -> str:
    """The error for an ``argument`` that timm's ``network`` has not."""
    if argument == "num_classes":
        return f"num_classes: {network} is taken without its classifier; leave it out"
    return f"{argument}: timm's {network} has no such argument{nearest(argument, known)}"
