"""One number that says whether every gradient of a model is finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metricforge.models.own_rows import own_rows


def largest_gradient(model: nn.Module) -> Tensor | None:
    """The largest magnitude in all gradients of ``model`` here, NaN if one of them is; None without gradients.

    On the device, and of all gradients at once: nothing waits for it.
    """
    gradients = [own_rows(p.grad) for p in model.parameters() if p.grad is not None]
    dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    filled = [g for g in dense if g.numel()]
    if not filled:
        return None
    if all(g.device.type == "cpu" and not g.is_complex() for g in filled):
        # reads numbers several at a time, which the norm's kernel of a CPU does not: an eighth of its time
        return torch.stack([torch.stack(torch.aminmax(g)).double() for g in filled]).abs().max()
    return torch.nn.utils.get_total_norm(filled, norm_type=math.inf)
