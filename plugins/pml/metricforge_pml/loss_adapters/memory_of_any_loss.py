"""CrossBatchMemory that does not ask what its loss is called."""

from __future__ import annotations

from pytorch_metric_learning.losses import CrossBatchMemory


class MemoryOfAnyLoss(CrossBatchMemory):
    """The queue of CrossBatchMemory; whether a loss can compare with a memory, its adapter checks."""

    @classmethod
    def check_loss_support(cls, loss_name: str) -> None: ...


# In errors and printed models it is what the config calls it.
MemoryOfAnyLoss.__name__ = CrossBatchMemory.__name__
