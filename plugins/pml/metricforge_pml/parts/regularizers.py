"""The regularizers, for the arguments ``embedding_regularizer`` and ``weight_regularizer``."""

from __future__ import annotations

from pytorch_metric_learning import regularizers as pml_regularizers

from metricforge_pml.adapters import public_classes
from metricforge_pml.constructors import PREFIX
from metricforge_pml.parts.pml_part import register_pml_part
from metricforge_pml.parts.registries import REGULARIZERS

LEFT_OUT = {
    "BaseRegularizer": "it is abstract in pytorch-metric-learning, with nothing to compute; take one of its subclasses"
}

for _name, _class in public_classes(pml_regularizers).items():
    if _name in LEFT_OUT:
        REGULARIZERS.leave_out(PREFIX + _name, LEFT_OUT[_name])
    else:
        register_pml_part(REGULARIZERS, PREFIX + _name, _class)
