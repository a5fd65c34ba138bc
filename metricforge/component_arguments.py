"""The arguments of a component's constructor: which a config may give, and what is wrong with those it gives."""

from __future__ import annotations

import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from metricforge.argument_types import misfit, plain_annotations
from metricforge.errors import MetricForgeError
from metricforge.spelling import nearest

_FLAG = bool | None  # the one annotation of libraries that is judged: any text would count as True
# what may stand for a required argument while the others are looked at
_STAND_INS: Mapping[Any, Any] = {int: 8, float: 0.5, "dim": 64, "feature_dim": 64, "num_classes": 16}


def is_component(value: Any) -> bool:
    """Whether a config value describes a component: a dict with a ``type``."""
    return isinstance(value, Mapping) and "type" in value


@functools.cache
def accepted_arguments(cls: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments that a config may give ``cls``; None if it takes any (``**kwargs``).

    A constructor that passes ``**kwargs`` on is followed up to the base class that names them. Whether it fills in what
    that class requires cannot be seen, so those arguments count as optional. A class with ``further_arguments`` has its
    own here; which others a config may give it, that class method says of the config.
    """
    accepted: dict[str, inspect.Parameter] = {}
    passed_on = False
    bases = cls.__mro__ if isinstance(cls, type) else ()
    for constructor in [vars(base)["__init__"] for base in bases if "__init__" in vars(base)] if bases else [cls]:
        if constructor in (object.__init__, nn.Module.__init__):  # which take anything, and use nothing of it
            return None if passed_on else accepted
        parameters = [p for p in inspect.signature(constructor).parameters.values() if p.name != "self"]
        hints = plain_annotations(constructor)
        positional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        for parameter in parameters:
            if parameter.kind not in positional:
                judged = _FLAG if parameter.annotation == _FLAG else Any
                parameter = parameter.replace(annotation=hints.get(parameter.name, judged))
                if passed_on and parameter.default is inspect.Parameter.empty:
                    parameter = parameter.replace(default=None)
                accepted.setdefault(parameter.name, parameter)
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
                faults.append(f"{join_path(path, name)}: {cfg['type']} has no such argument{nearest(name, known)}")
        elif name != "type" and (allowed := misfit(cfg[name], accepted[name])):
            faults.append(f"{join_path(path, name)}: {cfg[name]!r} must be {allowed}")
    for name, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and name not in cfg and name not in derived:
            faults.append(f"{join_path(path, name)}: {cfg['type']} needs this argument and has no default for it")
    for name, value in derived.items():
        if name in cfg and name in accepted and value is not None and not np.array_equal(cfg[name], value):
            faults.append(
                f"{join_path(path, name)}: {cfg[name]!r} contradicts {reprlib.repr(value)}, which the data set or the "
                "model says; leave it out, it is filled in"
            )
    return faults


def value_faults(cls: Callable[..., Any], arguments: Mapping[str, Any], given: set[str]) -> list[str]:
    """Everything that the constructor of ``cls`` refuses of ``arguments``, one message a fault.

    A constructor raises at the first. An argument that its message names is then left to its default, or to a plain
    number, and the others are looked at again.

    Args:
        cls: whose constructor.
        arguments: what it is called with.
        given: those of them that the config gives; only these are at fault.
    """
    tried, faults, replaced = dict(arguments), list[str](), set[str]()
    accepted = accepted_arguments(cls) or {}
    while True:
        try:
            cls(**tried)
        except MetricForgeError:
            return faults
        except ValueError as error:
            fault = plain_message(error)
            places = {name: match.start() for name in arguments if (match := re.search(rf"\b{name}\b", fault))}
            if fault in faults or (places and min(places, key=lambda name: places[name]) in replaced):
                return faults  # another argument's stand-in does not change what is wrong, or is itself what is wrong
            faults.append(fault)
        except Exception:
            return faults
        else:
            return faults
        culprit = min(places.keys() & tried.keys() & given, key=lambda name: places[name], default=None)
        if culprit is None:
            return faults
        given = given - {culprit}
        replaced.add(culprit)
        del tried[culprit]
        parameter = accepted.get(culprit)
        if parameter is not None and parameter.default is inspect.Parameter.empty:
            stand_in = _STAND_INS.get(culprit, _STAND_INS.get(parameter.annotation))
            if stand_in is None:
                return faults
            tried[culprit] = stand_in


def further_value_faults(cls: Callable[..., Any], cfg: Mapping[str, Any]) -> list[str]:
    """What the constructor of ``cls`` refuses of those values of ``cfg`` in which ``argument_faults`` sees no fault.

    Nothing is tried where an argument that it needs is unknown here, such as another component.
    """
    accepted = accepted_arguments(cls) or {}
    arguments: dict[str, Any] = {}
    for name, parameter in accepted.items():
        if name in cfg and not misfit(cfg[name], parameter) and not _holds_component(cfg[name]):
            arguments[name] = cfg[name]
        elif parameter.default is inspect.Parameter.empty:
            arguments[name] = _STAND_INS.get(name, _STAND_INS.get(parameter.annotation))
    return [] if None in arguments.values() else value_faults(cls, arguments, set(cfg))


def _holds_component(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return is_component(value) or any(_holds_component(part) for part in parts)


def plain_message(error: Exception) -> str:
    """What ``error`` says, without the stack of C++ calls that torch may put after it."""
    return str(error).partition("\nException raised from ")[0].strip()


def join_path(path: str, name: str) -> str:
    """The config path of ``name`` below ``path``."""
    return f"{path}.{name}" if path else name
