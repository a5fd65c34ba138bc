"""Sample the classes of a training step."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_classes(labels: Tensor, num_classes: int, count: int) -> Tensor:
    """The classes of ``labels`` (B,) and, drawn evenly among the others, as many as make ``count``: (S,), ascending.

    S is ``count``, or how many classes the batch has if that is more. Draws from torch's global generator of the
    device, in time for S and not for ``num_classes``.
    """
    own: Tensor = torch.unique(labels)  # (U,)
    others = num_classes - len(own)
    missing = min(count - len(own), others)
    if missing <= 0:
        return own
    positions = _draw_distinct(others, missing, labels.device)  # (S - U,) places in the list of all other classes
    # The list is never made: before its place p stand p other classes, and those own ones that are below its class.
    others_below = own - torch.arange(len(own), device=own.device)  # (U,) ascending
    drawn = positions + torch.searchsorted(others_below, positions, right=True)
    return torch.cat([own, drawn]).sort().values


def _draw_distinct(population: int, count: int, device: torch.device) -> Tensor:
    """``count`` different numbers of 0..population-1, every such set as likely as any other."""
    if 2 * count >= population:
        return torch.randperm(population, device=device)[:count]
    drawn = torch.empty(0, dtype=torch.int64, device=device)
    while len(drawn) < count:
        more = torch.randint(population, (2 * count,), device=device)
        drawn = torch.unique(torch.cat([drawn, more]))
    # unique sorts: the first of them would be the smallest
    return drawn[torch.randperm(len(drawn), device=device)[:count]]
