"""Pairs of rows so near to each other that ``|x|^2 + |y|^2 - 2xy`` loses their distance, measured by differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 1e-3  # of |x|^2 + |y|^2: above it a float32 product is right to some 1e-4 of the squared distance
NUMBERS_AT_ONCE = 2**21


class NearPairs(NamedTuple):
    """Rows ``first`` (P,) of one set and ``second`` (P,) of another, or of the same set, each pair once then."""

    first: Tensor
    second: Tensor


def near_pairs(squares: Tensor, of_first: Tensor, of_second: Tensor) -> NearPairs | None:
    """The pairs whose entry of ``squares`` (N, M) is mostly rounding, or None where there are none, the usual case.

    Args:
        squares: ``|x|^2 + |y|^2 - 2xy`` as a matrix product gives it, which rounding may make negative; infinity where
            a pair does not matter.
        of_first: (N,), the ``|x|^2``.
        of_second: (M,), the ``|y|^2``.
    """
    if squares.numel() == 0:
        return None
    # |x| and |y| of a near pair are nearly equal, so one pass without a second matrix finds the rows to look at
    rows = (squares.amin(dim=1) <= 2.2 * NEAR * of_first).nonzero()[:, 0]  # (n,)
    if len(rows) == 0:
        return None
    excess = (squares[rows] - NEAR * of_first[rows, None]).sub_(NEAR * of_second)  # (n, M)
    first, second = (excess <= 0).nonzero(as_tuple=True)  # (P,)
    return NearPairs(rows[first], second) if len(first) else None


def each_once(pairs: NearPairs, count: int) -> NearPairs:
    """``pairs`` of one set of ``count`` rows, whichever way round and however often they stand there, once each."""
    codes = torch.minimum(*pairs) * count + torch.maximum(*pairs)  # (P,)
    codes = codes.unique()  # type: ignore[no-untyped-call]
    return NearPairs(codes // count, codes % count)


def near_distances(x: Tensor, y: Tensor, pairs: NearPairs, *, squared: bool) -> Tensor:
    """The Euclidean distances (P,) of ``pairs`` of rows of ``x`` (N, D) and ``y`` (M, D), or their squares."""
    parts = [x.new_empty(0)]
    for first, second in _parts(pairs, x.shape[1]):
        differences = x[first] - y[second]  # (p, D)
        if squared:
            parts.append(differences.square().sum(dim=1))
            continue
        largest = differences.abs().amax(dim=1)  # (p,): of the smallest differences the squares would vanish
        units = differences / largest.where(largest > 0, 1)[:, None]
        parts.append(largest * units.square().sum(dim=1).sqrt())
    return torch.cat(parts)


def pull_near(
    to_x: Tensor | None,
    to_y: Tensor | None,
    x: Tensor,
    y: Tensor,
    pairs: NearPairs,
    weights: Tensor,
    distances: Tensor | None = None,
) -> None:
    """Add ``weights`` (P,) times each pair's difference to its row of ``to_x`` (N, D); take it from that of ``to_y``.

    Either may be None: it is not wanted then. The difference is that of the rows of ``x`` (N, D) and ``y`` (M, D),
    divided by ``distances`` (P,) where they are given: a direction then, or nothing between duplicates.
    """
    place = 0
    for first, second in _parts(pairs, x.shape[1]):
        here = slice(place, place + len(first))
        pull = x[first] - y[second]  # (p, D)
        if distances is not None:
            pull = pull / distances[here].where(distances[here] > 0, torch.inf)[:, None]
        pull = weights[here, None] * pull
        if to_x is not None:
            to_x.index_add_(0, first, pull)
        if to_y is not None:
            to_y.index_add_(0, second, -pull)
        place = here.stop


def _parts(pairs: NearPairs, dim: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, NUMBERS_AT_ONCE // max(1, dim))
    yield from zip(torch.split(pairs.first, size), torch.split(pairs.second, size), strict=True)
