"""How many numbers of a table's rows are larger than given ones: numpy is ten times quicker at it than torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = 24  # numbers a row up to which comparing a row with each is quicker than sorting it
FLAGS_AT_ONCE = 2**20


def limits(dtype: torch.dtype) -> tuple[float, float]:
    """A number below and one above all scores."""
    if dtype.is_floating_point:
        return -torch.inf, torch.inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def count_larger(table: Tensor, row: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """How many of ``table`` (b, G) in ``row`` (P,), ascending, are above ``high`` (P,), and how many reach ``low``."""
    counts = torch.bincount(row, minlength=len(table))  # (b,)
    nth = torch.arange(len(row), device=row.device) - (counts.cumsum(dim=0) - counts)[row]  # (P,)
    most = int(counts.max())
    bounds = torch.full((2, len(table), most), limits(table.dtype)[1], dtype=table.dtype, device=row.device)
    bounds[0, row, nth], bounds[1, row, nth] = high, low
    if most > THRESHOLDS:
        if table.device.type == "cpu":
            in_order = torch.from_numpy(np.sort(table.numpy(), axis=1))
        else:
            in_order = table.sort(dim=1).values
        above, reached = (
            table.shape[1] - torch.searchsorted(in_order, limit, right=strictly)
            for limit, strictly in zip(bounds, (True, False), strict=True)
        )
        return above[row, nth], reached[row, nth]
    every = torch.arange(len(table), device=row.device)
    above, reached = torch.empty(2, len(table), most, dtype=torch.int64, device=row.device)
    for place in range(most):
        above[:, place] = larger_in_rows(table, every, bounds[0, :, place], strictly=True)
        reached[:, place] = larger_in_rows(table, every, bounds[1, :, place], strictly=False)
    return above[row, nth], reached[row, nth]


def larger_in_rows(table: Tensor, rows: Tensor, threshold: Tensor, *, strictly: bool) -> Tensor:
    """How many of each of the ``rows`` (r,) of ``table`` (b, G) are above ``threshold`` (r,), or at least that."""
    if table.device.type != "cpu":
        some = table[rows]
        return (some > threshold[:, None] if strictly else some >= threshold[:, None]).sum(dim=1)
    compare = np.greater if strictly else np.greater_equal
    flags = np.empty(table.shape[1], dtype=bool)
    counts = np.empty(len(rows), dtype=np.int64)
    for place, (row, limit) in enumerate(zip(rows.tolist(), threshold.numpy(), strict=True)):
        counts[place] = np.count_nonzero(compare(table[row].numpy(), limit, out=flags))
    return torch.from_numpy(counts)


def columns_in_some_band(scores: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Columns of ``scores`` (G,) that are within one of the bands ``low`` (p,) to ``high`` (p,)."""
    begun = torch.searchsorted(low.sort().values, scores, right=True)
    over = torch.searchsorted(high.sort().values, scores)
    return (begun > over).nonzero()[:, 0]


def indices_of(flags: Tensor) -> Tensor:
    """Where ``flags`` of any shape are true, counted row after row (N,)."""
    if flags.device.type != "cpu":
        return flags.flatten().nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(flags.numpy()))


def indices_within(table: Tensor, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is from ``low`` (r,) to ``high`` (r,) in the ``rows`` (r,) of ``table`` (b, G), and what is above.

    Returns row and column (N,) of what is between, and how many are above ``high`` in each of the rows (r,).
    """
    if table.device.type != "cpu":
        some = table[rows]
        place, column = ((some >= low[:, None]) & (some <= high[:, None])).nonzero(as_tuple=True)
        return rows[place], column, (some > high[:, None]).sum(dim=1)
    width = table.shape[1]
    step = max(1, FLAGS_AT_ONCE // width)
    flags, above = np.empty((min(step, len(rows)), width), dtype=bool), np.empty(width, dtype=bool)
    counts = np.empty(len(rows), dtype=np.int64)
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        bounds = zip(rows[part].tolist(), low[part].numpy(), high[part].numpy(), strict=True)
        for number, (index, least, most) in enumerate(bounds):
            numbers = table[index].numpy()  # one at a time it stays in a cache
            counts[start + number] = np.count_nonzero(np.greater(numbers, most, out=above))
            np.greater_equal(numbers, least, out=flags[number])
            flags[number] ^= above
        found.append(np.flatnonzero(flags[: len(rows[part])]) + start * width)
    places = torch.from_numpy(np.concatenate(found))
    return rows[places // width], places % width, torch.from_numpy(counts)
