"""Why something cannot be registered as a component of a kind: what would break other people's configs and messages."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable
from pkgutil import resolve_name
from typing import Any

from torch import nn

from metricforge.component_source import SEPARATOR
from metricforge.interfaces import Backbone, Clustering, Evaluator, Loss, Miner, Similarity
from metricforge.spelling import nearest

# by name where the class lies in a folder of components, which import the registries
BASES: dict[str, type | str] = {
    "backbone": Backbone,
    "similarity": Similarity,
    "miner": Miner,
    "loss": Loss,
    "evaluator": Evaluator,
    "clustering": Clustering,
    "dataset": "metricforge.datasets.image_dataset:ImageDataset",
    "sampler": "metricforge.samplers.batch_sampler:BatchSampler",
    "hook": "mmengine.hooks:Hook",
    "head": nn.Module,
}
PUBLIC_BASES = {
    "dataset": "metricforge.datasets.ImageDataset",
    "hook": "mmengine.hooks.Hook",
    "head": "metricforge.Head, or another torch.nn.Module",
    "transform": "metricforge.Transform, or be another class with a method __call__(image)",
}


# What the framework calls each of them with. A hook is called at the points that mmengine's Hook declares.
CALLED_WITH: dict[str, dict[str, tuple[str, ...]]] = {
    "backbone": {"forward": ("images",)},
    "head": {"forward": ("features",)},
    "similarity": {"pairwise": ("x", "y"), "prepare": ("embeddings",)},
    "miner": {"forward": ("embeddings", "labels", "similarity")},
    "loss": {"forward": ("embeddings", "labels", "tuples", "similarity")},
    "evaluator": {
        "evaluate": ("context",),
        "per_query": ("context",),
        "neighbours_needed": ("context",),
        "counts": ("context",),
        "protocol": (),
    },
    "clustering": {"assign": ("embeddings", "clusters", "seed", "on_step"), "protocol": ()},
    "dataset": {"load": ("index",), "location": ("index",)},
    "sampler": {"global_batches": ("generator",)},
    "transform": {"__call__": ("image",)},
}


def registry_name(kind: str) -> str:
    """The public name of the registry of ``kind``, such as ``SIMILARITIES``."""
    if kind.endswith("y"):
        return f"{kind[:-1]}ies".upper()
    return f"{kind}{'es' if kind.endswith('s') else 's'}".upper()


def with_article(noun: str) -> str:
    """``noun`` with a or an before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def kind_of(component: type) -> str | None:
    """The kind whose base ``component`` derives from; None if none, or only from ``torch.nn.Module``."""
    found = [kind for kind in BASES if kind != "head" and issubclass(component, _base(kind))]
    return found[0] if found else None


def refusal(kind: str, component: Any) -> str | None:
    """Why ``component`` cannot be registered as a ``kind``; None if it can."""
    if kind not in BASES and kind != "transform":
        return None  # a registry of somebody's own
    if isinstance(component, functools.partial):
        return "it is a functools.partial, not a class; derive a class that sets these arguments in its constructor"
    if not isinstance(component, type):
        what = "a function" if inspect.isroutine(component) else f"an object of class {type(component).__name__}"
        return f"it is {what}, not a class; {_way_out(kind)}"
    if not _fits(kind, component):
        other = kind_of(component)
        return f"it is {with_article(other)}: register it in {registry_name(other)}" if other else _way_out(kind)
    missing = sorted(getattr(component, "__abstractmethods__", ()))
    if missing:
        return f"it does not implement {', '.join(missing)}"
    return _wrong_declaration(kind, component) or _wrong_signature(kind, component)


def name_refusal(name: object) -> str | None:
    """Why ``name`` cannot be a component's; None if it can."""
    if not isinstance(name, str) or not name or SEPARATOR in name or any(letter.isspace() for letter in name):
        return f"the name {name!r} must be text without blanks and without {SEPARATOR}"
    return None


def not_decorated(kind: str, name: str, plugins: Iterable[str]) -> str | None:
    """Say of a class ``name`` in one of the modules of ``plugins`` that nothing registers it as a ``kind``."""
    for plugin in plugins:
        module = plugin.partition(":")[0]
        if isinstance(getattr(sys.modules.get(module), name, None), type):
            way_out = f"decorate it by @{registry_name(kind)}.register_module()"
            return f'"{name}" is a class of {module}, but not registered: {way_out}'
    return None


def _base(kind: str) -> type:
    base = BASES[kind]
    return resolve_name(base) if isinstance(base, str) else base


def _fits(kind: str, component: type) -> bool:
    if kind == "transform":
        return any("__call__" in vars(cls) for cls in component.__mro__) and kind_of(component) is None
    return issubclass(component, _base(kind)) and (kind != "head" or kind_of(component) is None)


def _way_out(kind: str) -> str:
    return f"{with_article(kind)} must derive from {PUBLIC_BASES.get(kind) or f'metricforge.{_base(kind).__name__}'}"


def _wrong_declaration(kind: str, component: type) -> str | None:
    """What a class attribute lacks that the checks of other components' configs read."""
    if kind == "miner" and not isinstance(getattr(component, "yields", None), type):
        found = getattr(component, "yields", "nothing")
        return f"yields must be the type of its tuples, such as Triplets, got {found!r}"
    accepts = getattr(component, "accepts", ())
    if kind == "loss" and not (isinstance(accepts, tuple) and all(isinstance(each, type) for each in accepts)):
        return f"accepts must be a tuple of types, such as (Triplets,), got {accepts!r}"
    return None


def unknown_points(hook: type) -> list[str]:
    """The methods of a ``hook`` class that are named like points of a run and are none: nothing would call them."""
    base = _base("hook")
    own = {name for cls in hook.__mro__ if not issubclass(base, cls) for name in vars(cls)}
    return sorted(name for name in own if name.startswith(("before_", "after_")) and not hasattr(base, name))


def _wrong_signature(kind: str, component: type) -> str | None:
    """The first method that cannot take what the framework calls it with."""
    if kind == "hook":
        unknown = unknown_points(component)
        if unknown:
            points = [name for name in vars(_base(kind)) if name.startswith(("before_", "after_"))]
            return f"a run has no point {unknown[0]}, so it would never be called{nearest(unknown[0], points)}"
        return None
    for name, arguments in CALLED_WITH.get(kind, {}).items():
        method = getattr(component, name, None)
        if not callable(method):
            continue
        try:
            found = inspect.signature(method)
        except (TypeError, ValueError):  # compiled code, which does not say
            continue
        bound = isinstance(inspect.getattr_static(component, name), (staticmethod, classmethod))
        called_with = () if bound else (component,)
        try:
            found.bind(*called_with, *arguments)
        except TypeError:
            return f"{name} is called with ({', '.join(arguments)}), which {name}{_without_types(found)} does not take"
    return None


def _without_types(signature: inspect.Signature) -> str:
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
