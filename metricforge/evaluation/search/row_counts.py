"""Counts the scores of a row above given bounds; on the CPU by numpy, ten times as fast as torch at it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = 24  # up to this many bounds a row, comparing it with each is faster than sorting it
FLAGS_AT_ONCE = 2**20


def limits(dtype: torch.dtype) -> tuple[float, float]:
    """Return a number below and one above all scores of ``dtype``."""
    if dtype.is_floating_point:
        return -torch.inf, torch.inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def count_larger(scores: Tensor, row: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Count the ``scores`` (b, G) in ``row`` (P,), ascending, that are above ``high`` (P,), and that reach ``low``."""
    counts = torch.bincount(row, minlength=len(scores))  # (b,)
    nth = torch.arange(len(row), device=row.device) - (counts.cumsum(dim=0) - counts)[row]  # (P,)
    most = int(counts.max())
    bounds = torch.full((2, len(scores), most), limits(scores.dtype)[1], dtype=scores.dtype, device=row.device)
    bounds[0, row, nth], bounds[1, row, nth] = high, low
    if most > THRESHOLDS:
        if scores.device.type == "cpu":
            in_order = torch.from_numpy(np.sort(scores.numpy(), axis=1))
        else:
            in_order = scores.sort(dim=1).values
        above, reached = (
            scores.shape[1] - torch.searchsorted(in_order, limit, right=strictly)
            for limit, strictly in zip(bounds, (True, False), strict=True)
        )
        return above[row, nth], reached[row, nth]
    every = torch.arange(len(scores), device=row.device)
    above, reached = torch.empty(2, len(scores), most, dtype=torch.int64, device=row.device)
    for column in range(most):
        above[:, column] = larger_in_rows(scores, every, bounds[0, :, column], strictly=True)
        reached[:, column] = larger_in_rows(scores, every, bounds[1, :, column], strictly=False)
    return above[row, nth], reached[row, nth]


def larger_in_rows(scores: Tensor, rows: Tensor, threshold: Tensor, *, strictly: bool) -> Tensor:
    """Count in each of the ``rows`` (r,) of ``scores`` (b, G) those above ``threshold`` (r,), or at least that."""
    if scores.device.type != "cpu":
        some = scores[rows]
        return (some > threshold[:, None] if strictly else some >= threshold[:, None]).sum(dim=1)
    compare = np.greater if strictly else np.greater_equal
    flags = np.empty(scores.shape[1], dtype=bool)
    counts = np.empty(len(rows), dtype=np.int64)
    for nth, (row, limit) in enumerate(zip(rows.tolist(), threshold.numpy(), strict=True)):
        counts[nth] = np.count_nonzero(compare(scores[row].numpy(), limit, out=flags))
    return torch.from_numpy(counts)


def columns_in_some_band(scores: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the columns of ``scores`` (G,) that are within any of the bands ``low`` (p,) to ``high`` (p,)."""
    begun = torch.searchsorted(low.sort().values, scores, right=True)
    over = torch.searchsorted(high.sort().values, scores)
    return (begun > over).nonzero()[:, 0]


def indices_of(flags: Tensor) -> Tensor:
    """Return the indices (N,), row after row, at which ``flags`` of any shape are true."""
    if flags.device.type != "cpu":
        return flags.flatten().nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(flags.numpy()))


def indices_within(scores: Tensor, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the ``scores`` (b, G) from ``low`` (r,) to ``high`` (r,) in the ``rows`` (r,), and count those above.

    Returns row and column (N,) of those between, and how many are above ``high`` in each of the rows (r,).
    """
    if scores.device.type != "cpu":
        some = scores[rows]
        nth, column = ((some >= low[:, None]) & (some <= high[:, None])).nonzero(as_tuple=True)
        return rows[nth], column, (some > high[:, None]).sum(dim=1)
    width = scores.shape[1]
    step = max(1, FLAGS_AT_ONCE // width)
    flags, above = np.empty((min(step, len(rows)), width), dtype=bool), np.empty(width, dtype=bool)
    counts = np.empty(len(rows), dtype=np.int64)
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        bounds = zip(rows[part].tolist(), low[part].numpy(), high[part].numpy(), strict=True)
        for number, (index, least, most) in enumerate(bounds):
            numbers = scores[index].numpy()  # one row at a time stays in a cache
            counts[start + number] = np.count_nonzero(np.greater(numbers, most, out=above))
            np.greater_equal(numbers, least, out=flags[number])
            flags[number] ^= above
        found.append(np.flatnonzero(flags[: len(rows[part])]) + start * width)
    indices = torch.from_numpy(np.concatenate(found))
    return rows[indices // width], indices % width, torch.from_numpy(counts)
