"""Why something cannot be registered as a component of a kind: what would break other people's configs and messages."""

from __future__ import annotations

import functools
import inspect
from pkgutil import resolve_name
from typing import Any

from torch import nn

from metricforge.component_source import SEPARATOR
from metricforge.interfaces import Backbone, Clustering, Evaluator, Loss, Miner, Similarity

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
    return _wrong_declaration(kind, component)


def name_refusal(name: object) -> str | None:
    """Why ``name`` cannot be a component's; None if it can."""
    if not isinstance(name, str) or not name or SEPARATOR in name or any(letter.isspace() for letter in name):
        return f"the name {name!r} must be text without blanks and without {SEPARATOR}"
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
