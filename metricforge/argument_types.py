"""Whether a config's value is of the type that an argument is annotated with.

Only what a config can write is judged, and only arguments of our own and of plug-ins: a bool, a number, a string, a
path, None, one of some words, or one of several of these. What other libraries annotate is not always what they take.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

NAMES = {bool: "True or False", int: "an integer", float: "a number", str: "a string", types.NoneType: "None"}
_judged = {"metricforge", "metricforge_lifted", "metricforge_normsoftmax", "metricforge_pddm", "metricforge_pml"}


def judge_annotations_of(module: str) -> None:
    """Have what the package of ``module`` annotates judged as well: it has components, written for configs."""
    _judged.add(module.partition(".")[0])


def plain_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of ``function`` by argument; none of a library's, or of one with names only for checkers."""
    if (getattr(function, "__module__", None) or "").partition(".")[0] not in _judged:
        return {}
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def misfit(value: Any, parameter: inspect.Parameter) -> str | None:
    """What ``parameter`` takes, in words, if ``value`` is something else; None if it fits or cannot be judged."""
    if isinstance(value, str) and isinstance(parameter.default, bool):
        return NAMES[bool]  # any text would count as True
    annotation = parameter.annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
    kinds = [option for option in options if get_origin(option) is not Literal]
    if not all(kind in NAMES or kind is Path for kind in kinds):
        return None
    if value in words or any(_is(value, kind) for kind in kinds) or (value is None and parameter.default is None):
        return None
    allowed = [repr(word) for word in words] + list(dict.fromkeys(NAMES.get(kind, "a path") for kind in kinds))
    return " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a number, which True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an integer, of Python or NumPy, which True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is Path:
        return isinstance(value, (str, Path))
    return isinstance(value, (int, float) if kind is float else kind)
