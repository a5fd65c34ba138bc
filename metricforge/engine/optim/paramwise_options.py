"""What ``optim_wrapper.paramwise_cfg`` may hold: mmengine takes any key, and ignores one that it does not know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from metricforge.argument_types import is_number
from metricforge.spelling import nearest

FACTORS = (
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "dwconv_decay_mult",
    "flat_decay_mult",
    "dcn_offset_lr_mult",
)
KNOWN = ("custom_keys", "layer_decay", "bypass_duplicate", *FACTORS)
OF_A_KEY = ("lr_mult", "decay_mult")
PATH = "optim_wrapper.paramwise_cfg"


def paramwise_faults(options: Any, group_options: Iterable[str] | None = None, *, decays: bool = True) -> list[str]:
    """Every fault of ``options``, a ``paramwise_cfg``.

    Args:
        options: None, or what should be a dict.
        group_options: what the optimizer takes for a group of parameters, such as ``weight_decay``; None: not known.
        decays: whether the optimizer is given a ``weight_decay``, which ``decay_mult`` and its like multiply.
    """
    if options is None:
        return []
    if not isinstance(options, Mapping):
        return [f"{PATH}: {options!r} must be a dict with the keys {', '.join(KNOWN)}"]
    faults = [f"{PATH}.{key}: there is no such key{nearest(key, KNOWN)}" for key in options if key not in KNOWN]
    faults += _factor_faults(options, FACTORS, PATH, decays)
    by_depth = options.get("layer_decay")
    if by_depth is not None and (not is_number(by_depth) or not 0 < by_depth <= 1):
        faults.append(f"{PATH}.layer_decay: {by_depth!r} must be above 0 and at most 1")
    if not isinstance(options.get("bypass_duplicate", False), bool):
        faults.append(f"{PATH}.bypass_duplicate: {options['bypass_duplicate']!r} must be True or False")
    named = options.get("custom_keys", {})
    if not isinstance(named, Mapping):
        return [*faults, f'{PATH}.custom_keys: {named!r} must be a dict, such as {{"backbone": dict(lr_mult=0.1)}}']
    for key, settings in named.items():
        path = f'{PATH}.custom_keys["{key}"]'
        if not isinstance(key, str) or not isinstance(settings, Mapping):
            faults.append(
                f"{path}: {settings!r} must be a dict such as dict(lr_mult=0.1), of a part of a name in quotes"
            )
            continue
        faults += _factor_faults(settings, OF_A_KEY, path, decays)
        if group_options is not None:
            allowed = [*OF_A_KEY, *group_options]
            faults += [
                f"{path}.{name}: there is no such key{nearest(name, allowed)}"
                for name in settings
                if name not in allowed
            ]
    return faults


def _factor_faults(options: Mapping[str, Any], names: Iterable[str], path: str, decays: bool) -> list[str]:
    faults = []
    for name in names:
        factor = options.get(name)
        if name not in options or (factor is None and name in FACTORS):
            continue
        if not is_number(factor) or not 0 <= factor < math.inf:
            faults.append(f"{path}.{name}: {factor!r} must be a number >= 0")
        elif "decay" in name and not decays:
            faults.append(
                f"{path}.{name}: multiplies optim_wrapper.optimizer.weight_decay, which is not set; set it, or leave "
                f"{name} out"
            )
    return faults
