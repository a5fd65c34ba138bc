"""The losses: ``metricforge_pml.losses.AngularLoss`` is registered as ``pml.AngularLoss``, and so on."""

from __future__ import annotations

from typing import Any

from pytorch_metric_learning import losses as pml_losses

from metricforge import LOSSES, Loss
from metricforge_pml.adapters import public_classes, register_adapter
from metricforge_pml.constructors import PREFIX, pml_arguments
from metricforge_pml.loss_adapters.bounded_histogram_loss import BoundedHistogramLoss
from metricforge_pml.loss_adapters.bounded_tuplet_margin_loss import BoundedTupletMarginLoss
from metricforge_pml.loss_adapters.pml_cross_batch_memory import PMLCrossBatchMemory
from metricforge_pml.loss_adapters.pml_dynamic_soft_margin_loss import PMLDynamicSoftMarginLoss
from metricforge_pml.loss_adapters.pml_instance_loss import PMLInstanceLoss
from metricforge_pml.loss_adapters.pml_manifold_loss import PMLManifoldLoss
from metricforge_pml.loss_adapters.pml_margin_loss import PMLMarginLoss
from metricforge_pml.loss_adapters.pml_multiple_losses import PMLMultipleLosses
from metricforge_pml.loss_adapters.pml_proxy_loss import PMLProxyLoss
from metricforge_pml.loss_adapters.pml_smooth_ap_loss import PMLSmoothAPLoss
from metricforge_pml.loss_adapters.pml_vic_reg_loss import PMLVICRegLoss
from metricforge_pml.pml_loss import PMLLoss

ABSTRACT = "it is abstract in pytorch-metric-learning, with nothing to compute; take one of its subclasses"
LEFT_OUT = {
    "BaseLossWrapper": ABSTRACT,
    "BaseMetricLossFunction": ABSTRACT,
    "EmbeddingRegularizerMixin": ABSTRACT,
    "GenericPairLoss": ABSTRACT,
    "SelfSupervisedLoss": (
        "it wants a second view of each image beside the batch, which a training step has not; take the loss that it "
        "wraps, with a data set and a sampler that give an image and its views one label"
    ),
    "WeightRegularizerMixin": ABSTRACT,
}
SPECIAL: dict[str, type[Loss]] = {
    "CrossBatchMemory": PMLCrossBatchMemory,
    "DynamicSoftMarginLoss": PMLDynamicSoftMarginLoss,
    "InstanceLoss": PMLInstanceLoss,
    "ManifoldLoss": PMLManifoldLoss,
    "MarginLoss": PMLMarginLoss,
    "MultipleLosses": PMLMultipleLosses,
    "SmoothAPLoss": PMLSmoothAPLoss,
    "VICRegLoss": PMLVICRegLoss,
}
# Theirs, less what breaks on duplicate embeddings.
REPAIRED: dict[str, type] = {
    "HistogramLoss": BoundedHistogramLoss,
    "TupletMarginLoss": BoundedTupletMarginLoss,
}
# They raise where tuples are given.
WITHOUT_TUPLES = ("P2SGradLoss", "PNPLoss", "RankedListLoss")
# They can compare a batch with other embeddings; what CrossBatchMemory supports is no different.
WITH_REFERENCES = (*pml_losses.CrossBatchMemory.supported_losses(), "DynamicSoftMarginLoss", "VICRegLoss")

for _name, _class in public_classes(pml_losses).items():
    if _name in LEFT_OUT:
        LOSSES.leave_out(PREFIX + _name, LEFT_OUT[_name])
        continue
    _base = SPECIAL.get(_name) or (PMLProxyLoss if "num_classes" in pml_arguments(_class) else PMLLoss)
    _extra: dict[str, Any] = {"takes_references": _name in WITH_REFERENCES}
    if _name in WITHOUT_TUPLES:
        _extra["accepts"] = ()
    globals()[_name] = register_adapter(LOSSES, _name, _base, REPAIRED.get(_name, _class), __name__, _extra)
