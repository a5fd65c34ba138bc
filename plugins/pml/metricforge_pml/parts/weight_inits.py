"""torch's initialisers, for an argument ``weight_init_func=dict(type="kaiming_normal_", mode="fan_out")``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from pytorch_metric_learning.utils.common_functions import TorchInitWrapper
from torch.nn import init

from metricforge_pml.parts.pml_part import register_part
from metricforge_pml.parts.registries import WEIGHT_INITS


def _register(name: str, function: Callable[..., Any]) -> None:
    parameters = {
        key: parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=Parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
        if key not in ("tensor", "generator")
    }

    def wrap(arguments: Mapping[str, Any]) -> Any:
        return TorchInitWrapper(function, **arguments)

    register_part(WEIGHT_INITS, name, wrap, parameters)


for _name, _function in vars(init).items():
    if _name.endswith("_") and not _name.startswith("_"):
        _register(_name, _function)
