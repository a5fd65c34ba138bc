"""Which parts of a model stay as they are."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from metricforge.errors import ConfigError
from metricforge.interfaces import Backbone


def freeze(model: nn.Module, backbone: Backbone, patterns: Sequence[str], stages: int, path: str) -> list[nn.Module]:
    """Freeze the parameters of ``model`` whose names, or a part's that holds them, match one of ``patterns``.

    Args:
        model: which holds the backbone as ``backbone``.
        backbone: the same.
        patterns: names such as "backbone" or "backbone.model.blocks.0", with * for any text.
        stages: so many of the backbone's first stages (``Backbone.parameters_by_depth``) as well.
        path: where the model stands in the config, for messages.

    Returns:
        The BatchNorm layers among them, which have to stay in evaluation mode.

    Raises:
        ConfigError: for a pattern that matches nothing, more stages than there are, or nothing left to train.
    """
    named = dict(model.named_parameters())
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in named if _matches(name, pattern)}
        if not found:
            parts = [name for name, _ in model.named_modules() if name] + list(named)
            raise ConfigError([f'{path}.freeze: "{pattern}" matches no weight; {_nearest_few(pattern, parts)}'])
        chosen |= found
    if stages:
        chosen |= _of_stages(backbone, stages, path)
    for name in chosen:
        named[name].requires_grad_(False)
    if chosen and not any(parameter.requires_grad for parameter in named.values()):
        raise ConfigError([f"{path}.freeze: nothing is left to train; freeze less, or add a head with a linear layer"])
    holders = {name.rpartition(".")[0] for name in chosen}
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and (name in holders or any(_matches(name, p) for p in patterns))
    ]


def _nearest_few(pattern: str, names: Sequence[str]) -> str:
    """The names nearest to ``pattern``, of which a network has hundreds."""
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else "print(model) shows the names"


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")


def _of_stages(backbone: Backbone, stages: int, path: str) -> set[str]:
    found = backbone.parameters_by_depth(coarse=True)
    if stages > len(found):
        which = f"has {len(found)}" if found else "does not say which it has"
        raise ConfigError([f"{path}.freeze_stages: {stages} stages, and {type(backbone).__name__} {which}; use freeze"])
    return {f"backbone.{name}" for names in found[:stages] for name in names}
