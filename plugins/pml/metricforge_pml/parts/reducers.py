"""The reducers, for an argument ``reducer``: how the values of pairs, triplets or samples become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_metric_learning import reducers as pml_reducers

from metricforge_pml.adapters import public_classes
from metricforge_pml.constructors import PREFIX, construct, our_arguments
from metricforge_pml.parts.pml_part import register_part, register_pml_part
from metricforge_pml.parts.registries import REDUCERS

LEFT_OUT = {
    "BaseReducer": "it is abstract in pytorch-metric-learning, with nothing to compute; take one of its subclasses",
    "DoNothingReducer": "it leaves a loss without a value to differentiate; take pml.MeanReducer or another",
}


def _class_weighted_reducer(arguments: Mapping[str, Any]) -> Any:
    """Take ``weights`` (C,) as a list: pytorch-metric-learning wants a tensor, which no config can hold."""
    weights = torch.as_tensor(arguments["weights"])
    return construct(pml_reducers.ClassWeightedReducer, {**arguments, "weights": weights})


for _name, _class in public_classes(pml_reducers).items():
    if _name in LEFT_OUT:
        REDUCERS.leave_out(PREFIX + _name, LEFT_OUT[_name])
    elif _name == "ClassWeightedReducer":
        register_part(REDUCERS, PREFIX + _name, _class_weighted_reducer, our_arguments(_class))
    else:
        register_pml_part(REDUCERS, PREFIX + _name, _class)
