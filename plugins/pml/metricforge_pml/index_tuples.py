"""Our tuples to pytorch-metric-learning's index tuples and back: (a1, p, a2, n) for pairs, (a, p, n) for triplets."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import DirectedPairs, Pairs, Quadruplets, Triplets, Tuples

IndexTuple = tuple[Tensor, ...]


def to_index_tuple(tuples: Tuples | None, *, both_ways: bool = True) -> IndexTuple | None:
    """``tuples`` as columns of rows; None stays None.

    ``DirectedPairs`` keep their direction. Plain ``Pairs`` have none, so each is given in both, as
    pytorch-metric-learning does with every pair of a batch where there is no miner; not so without ``both_ways``, for
    pairs whose ``second`` are rows of something else than the batch.
    """
    assert not isinstance(tuples, Quadruplets), "no adapter accepts them"
    if isinstance(tuples, Triplets):
        return tuples.anchor, tuples.positive, tuples.negative
    if not isinstance(tuples, Pairs):
        return None
    first, second, positive = tuples.first, tuples.second, tuples.positive  # (P,)
    if both_ways and not isinstance(tuples, DirectedPairs):
        first, second = torch.cat([first, second]), torch.cat([second, first])  # (2P,)
        positive = positive.repeat(2)  # (2P,)
    return first[positive], second[positive], first[~positive], second[~positive]


def from_index_tuple(columns: IndexTuple, device: torch.device) -> DirectedPairs | Triplets:
    """``Triplets`` of three columns, ``DirectedPairs`` of four, on ``device``: some miners make theirs on the CPU."""
    columns = tuple(column.to(device, torch.int64) for column in columns)
    if len(columns) == 3:
        return Triplets(*columns)
    anchor, positive, other_anchor, negative = columns
    same_class = torch.arange(len(anchor) + len(other_anchor), device=device) < len(anchor)  # (P,)
    return DirectedPairs(torch.cat([anchor, other_anchor]), torch.cat([positive, negative]), same_class)


def anchor_columns(columns: IndexTuple) -> tuple[bool, ...]:
    """Which of the columns hold anchors."""
    return (True, False, False) if len(columns) == 3 else (True, False, True, False)
