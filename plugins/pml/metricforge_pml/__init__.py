"""The losses, miners, distances and reducers of pytorch-metric-learning as ``pml.<Name>``; importing registers them.

The modules ``losses``, ``miners`` and ``similarities`` hold the adapters, one for each adapted class.
"""

from metricforge_pml import losses, miners, similarities
from metricforge_pml.parts import reducers, regularizers, weight_inits
from metricforge_pml.pml_loss import PMLLoss
from metricforge_pml.pml_miner import PMLMiner
from metricforge_pml.pml_similarity import PMLSimilarity

__all__ = [
    "PMLLoss",
    "PMLMiner",
    "PMLSimilarity",
    "losses",
    "miners",
    "reducers",
    "regularizers",
    "similarities",
    "weight_inits",
]
