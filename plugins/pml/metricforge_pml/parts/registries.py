"""The registries of the parts that only losses of pytorch-metric-learning have, and which argument takes which."""

from __future__ import annotations

from collections.abc import Mapping

from metricforge import SIMILARITIES, Registry

REDUCERS = Registry("reducer", "metricforge_pml")
REGULARIZERS = Registry("regularizer", "metricforge_pml")
WEIGHT_INITS = Registry("weight initialiser", "metricforge_pml")

NESTED: Mapping[str, Registry] = {
    "distance": SIMILARITIES,
    "reducer": REDUCERS,
    "reducers": REDUCERS,
    "default_reducer": REDUCERS,
    "embedding_regularizer": REGULARIZERS,
    "weight_regularizer": REGULARIZERS,
    "weight_init_func": WEIGHT_INITS,
}
