"""The distances: ``metricforge_pml.similarities.LpDistance`` is registered as ``pml.LpDistance``, and so on."""

from __future__ import annotations

from pytorch_metric_learning import distances as pml_distances

from metricforge import SIMILARITIES
from metricforge_pml.adapters import public_classes, register_adapter
from metricforge_pml.constructors import PREFIX
from metricforge_pml.pml_similarity import PMLSimilarity

LEFT_OUT = {
    "BaseDistance": "it is abstract in pytorch-metric-learning, with nothing to compute; take one of its subclasses",
    "BatchedDistance": "it hands blocks of distances to a function, to no model; take the distance that it wraps",
}

for _name, _class in public_classes(pml_distances).items():
    if _name in LEFT_OUT:
        SIMILARITIES.leave_out(PREFIX + _name, LEFT_OUT[_name])
        continue
    globals()[_name] = register_adapter(SIMILARITIES, _name, PMLSimilarity, _class, __name__)
