"""A common centre and unit of rows, in which their squared differences neither cancel, overflow nor vanish."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

HALVINGS = 32  # of rows whose sum might overflow


class Frame(NamedTuple):
    """What is taken from rows (N, D), ``centre`` (D,), and the power of two, mostly 1, that they are multiplied by."""

    centre: Tensor
    scale: float


def common_frame(x: Tensor, y: Tensor | None = None) -> Frame | None:
    """The frame of the rows of ``x`` (N, D) and ``y`` (M, D) together; None where they are all the same, or none.

    Rows that are not finite keep their place: nothing is taken from any, lest they spoil the others.
    """
    centre, reach = _centre_and_reach(x, y, 1.0)
    lowest = torch.finfo(x.dtype).tiny ** 0.4  # squares, and those of differences beside them, keep their digits
    if lowest < reach < 1 / lowest:
        return Frame(centre, 1.0)
    if reach == 0 or not len(x) or (y is not None and not len(y)):
        return None
    exponent = math.frexp(reach)[1] if math.isfinite(reach) else 0
    if not math.isfinite(reach):
        if not all(bool(rows.isfinite().all()) for rows in (x, y) if rows is not None):
            return Frame(torch.zeros_like(centre), 1.0)
        reduced, reach = _centre_and_reach(x, y, 2.0**-HALVINGS)
        centre, exponent = reduced * 2.0**HALVINGS, math.frexp(reach)[1] + HALVINGS
    return Frame(centre, 2.0 ** -max(-126, min(exponent, 126)))


def centred(rows: Tensor, centre: Tensor, scale: float) -> Tensor:
    """``rows`` (N, D) in the frame of ``centre`` (D,) and ``scale``."""
    if scale == 1:
        return rows - centre
    # what is large is made smaller first, or the difference might overflow
    return rows * scale - centre * scale if scale < 1 else (rows - centre) * scale


def _centre_and_reach(x: Tensor, y: Tensor | None, scale: float) -> tuple[Tensor, float]:
    """The mean row (D,) and the largest number of a row less it, both times ``scale``."""
    sets = [rows if scale == 1 else rows * scale for rows in (x, y) if rows is not None]
    total = max(1, sum(len(rows) for rows in sets))
    anchor = next((rows[:1] for rows in sets if len(rows)), sets[0].new_zeros(1, sets[0].shape[1]))  # (1, D)
    # measured from one of the rows, the mean of rows that are all the same is that row to the last digit
    centre = (anchor + sum((rows - anchor).sum(dim=0) for rows in sets) / total)[0]
    reaches = [float((rows - centre).abs().amax()) if rows.numel() else 0.0 for rows in sets]
    # a comparison with NaN is false: of the two the one that is not finite must come out
    return centre, max(reaches, key=lambda reach: math.inf if math.isnan(reach) else reach)
