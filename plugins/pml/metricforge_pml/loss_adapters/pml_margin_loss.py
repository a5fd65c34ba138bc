"""The adapter of MarginLoss."""

from __future__ import annotations

from typing import Any

from metricforge_pml.pml_loss import PMLLoss


class PMLMarginLoss(PMLLoss):
    """A loss with one boundary ``beta`` for all, or with ``beta_per_class`` one for each class.

    In pytorch-metric-learning ``num_classes`` alone makes them one for each class; here it is always filled in.
    """

    def __init__(self, beta_per_class: bool = False, num_classes: int | None = None, **arguments: Any) -> None:
        if beta_per_class and num_classes is None:
            raise ValueError("beta_per_class=True needs num_classes, which a training set gives; name it, or leave it")
        super().__init__(**arguments, **({"num_classes": num_classes} if beta_per_class else {}))
