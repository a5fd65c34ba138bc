"""One allowed column a row: the most alike, the least alike, or any."""

from __future__ import annotations

import torch
from torch import Tensor


def most_alike(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The column of each row's largest score among the ``allowed``.

    Args:
        scores: (N, M), larger = more alike.
        allowed: (N, M) bool.

    Returns:
        The columns (N,), and whether the row has one (N,) bool; where it has none, the column means nothing.
    """
    return _choose(scores.masked_fill(~allowed, -torch.inf), allowed)


def least_alike(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The column of each row's smallest score among the ``allowed``; arguments and returns of ``most_alike``."""
    return _choose(-scores.masked_fill(~allowed, torch.inf), allowed)


def _choose(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    if scores.numel() == 0:  # argmax refuses rows without a column
        empty = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
        return empty, empty.bool()
    columns = scores.argmax(dim=1)  # (N,)
    # A row may have an infinite score of its own beside the masked ones; then the column may be a masked one.
    return columns, allowed.gather(1, columns[:, None]).squeeze(1)


def random_choice(allowed: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """A column drawn evenly among the ``allowed`` (N, M) of each of ``rows`` (P,), independently.

    Draws from torch's global generator of the device.

    Returns:
        The columns (P,), and whether the row has one (P,) bool; where it has none, the column means nothing.
    """
    counts = allowed.sum(dim=1)[rows]  # (P,)
    allowed_first = allowed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)  # (N, M)
    draws = (torch.rand(len(rows), device=allowed.device) * counts).long()  # (P,)
    # The largest draw below 1 times the count may round up to the count.
    return allowed_first[rows, draws.minimum(counts - 1).clamp_min(0)], counts > 0
