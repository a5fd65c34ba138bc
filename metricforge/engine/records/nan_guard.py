"""Stops a run whose loss is NaN or infinite, and names the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from metricforge.errors import NonFiniteLossError


def refuse_non_finite(epoch: int, iteration: int, ids: Tensor, losses: Mapping[str, float]) -> None:
    """Raise an error if the total loss of a batch is NaN or infinite.

    Args:
        epoch: of the batch, from 0 on.
        iteration: of the batch within its run, from 0 on.
        ids: of the samples (B,).
        losses: the total, ``loss``, and the loss's parts.

    Raises:
        NonFiniteLossError: names epoch, iteration, all losses and the samples, and the ways out.
    """
    if math.isfinite(losses["loss"]):
        return
    scalars = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    shown = ", ".join(str(i) for i in ids[:8].tolist()) + (", ..." if len(ids) > 8 else "")
    raise NonFiniteLossError(
        f"the loss became {losses['loss']:g} at epoch {epoch + 1}, iteration {iteration + 1} ({scalars}), "
        f"on the batch of {len(ids)} samples with ids {shown}. The weights are no longer usable; the checkpoints "
        "written before are. Ways out: a smaller optim_wrapper.optimizer.lr, optim_wrapper.clip_grad=dict(max_norm=1), "
        "a look at these images"
    )
