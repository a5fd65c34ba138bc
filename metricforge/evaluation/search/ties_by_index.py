"""The rule for ties: of two images with the same score, the one with the smaller index ranks first."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.sortable_bits import sortable_bits

LOW_BITS = 2**32 - 1


def keys_without_ties(scores: Tensor, first_column: int = 0) -> Tensor:
    """Return integers (b, m) that rank as float32 ``scores`` (b, m) of columns ``first_column`` on, ties by column."""
    columns = torch.arange(first_column, first_column + scores.shape[1], device=scores.device)
    return sortable_bits(scores) * (LOW_BITS + 1) + (LOW_BITS - columns)


def columns_of_keys(keys: Tensor) -> Tensor:
    """Return the column of each of the ``keys`` that ``keys_without_ties`` made."""
    return LOW_BITS - (keys & LOW_BITS)


def in_exact_order(
    best: Tensor,
    candidates: Tensor,
    slack: Tensor,
    lowest: Tensor,
    queries: Tensor,
    scores: InnerProductScores | PairwiseScores,
) -> Tensor:
    """Sort ``candidates`` (b, w) by their exact scores, ties by index.

    Args:
        best: their rough scores (b, w), descending.
        candidates: gallery indices (b, w), sorted by ``best``.
        slack: how much two rough scores of a row may be off together (b,).
        lowest: candidates with a lower rough score stay where they are (b,).
        queries: the query of each row (b,).
        scores: the source of exact scores.
    """
    apart = best[:, :-1] - best[:, 1:] > slack[:, None]  # (b, w - 1): surely in the right order
    run = torch.nn.functional.pad(apart.long().cumsum(dim=1), (1, 0))  # (b, w): who shares a run may have to swap
    close = torch.nn.functional.pad(~apart, (1, 0)) | torch.nn.functional.pad(~apart, (0, 1))
    close &= best >= lowest[:, None]
    exact = torch.full(best.shape, -torch.inf, dtype=torch.float64, device=best.device)  # (b, w)
    row, column = close.nonzero(as_tuple=True)
    exact[row, column] = scores.exact(queries[row], candidates[row, column])
    order = candidates.argsort(dim=1)
    order = order.gather(1, exact.gather(1, order).argsort(dim=1, descending=True, stable=True))
    order = order.gather(1, run.gather(1, order).argsort(dim=1, stable=True))
    return candidates.gather(1, order)
