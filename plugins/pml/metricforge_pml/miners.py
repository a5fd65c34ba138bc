"""The miners: ``metricforge_pml.miners.HDCMiner`` is registered as ``pml.HDCMiner``, and so on."""

from __future__ import annotations

from pytorch_metric_learning import miners as pml_miners

from metricforge import MINERS, DirectedPairs, Triplets
from metricforge_pml.adapters import public_classes, register_adapter
from metricforge_pml.constructors import PREFIX
from metricforge_pml.loss_adapters.pml_packaged_triplets import PMLPackagedTriplets
from metricforge_pml.pml_miner import PMLMiner

LEFT_OUT = {"BaseMiner": "it is abstract in pytorch-metric-learning, with nothing to mine; take one of its subclasses"}
SPECIAL: dict[str, type[PMLMiner]] = {"EmbeddingsAlreadyPackagedAsTriplets": PMLPackagedTriplets}
DRAWING = ("DistanceWeightedMiner", "UniformHistogramMiner")  # with replacement
OF_TRIPLETS = (
    "AngularMiner",
    "BatchHardMiner",
    "DistanceWeightedMiner",
    "EmbeddingsAlreadyPackagedAsTriplets",
    "TripletMarginMiner",
)

for _name, _class in public_classes(pml_miners).items():
    if _name in LEFT_OUT:
        MINERS.leave_out(PREFIX + _name, LEFT_OUT[_name])
        continue
    _extra = {"yields": Triplets if _name in OF_TRIPLETS else DirectedPairs, "may_repeat": _name in DRAWING}
    globals()[_name] = register_adapter(MINERS, _name, SPECIAL.get(_name, PMLMiner), _class, __name__, _extra)
