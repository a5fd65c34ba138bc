"""Which rows of a matrix are the same as an earlier one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NUMBERS_AT_ONCE = 2**20


def first_duplicates(rows: Tensor, after_block: Callable[[], object] = lambda: None) -> Tensor:
    """The index of the first row that equals each row of ``rows`` (N, D): (N,), its own where there is none.

    Args:
        rows: of any float type.
        after_block: called each time that a block of them has been read.
    """
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator).to(rows.device)  # (D,)
    step = max(1, NUMBERS_AT_ONCE // rows.shape[1])
    hashes = torch.empty(len(rows), dtype=torch.int64, device=rows.device)  # modulo 2**64; 0 and -0 alike
    for start in range(0, len(rows), step):
        hashes[start : start + step] = (_bits(rows[start : start + step]) * factors).sum(dim=1)
        after_block()
    order = hashes.argsort(stable=True)
    in_order = hashes[order]
    same_hash = torch.nn.functional.pad(in_order[1:] == in_order[:-1], (1, 0))  # (N,): as the one before in this order
    candidates = same_hash.nonzero()[:, 0]
    for some in candidates.split(step):  # type: ignore[no-untyped-call]
        if not torch.equal(rows[order[some]], rows[order[some - 1]]):  # two different rows of one hash
            distinct, group = torch.unique(rows, dim=0, return_inverse=True)
            first = torch.full((len(distinct),), len(rows), device=rows.device)
            return first.scatter_reduce(0, group, torch.arange(len(rows), device=rows.device), reduce="amin")[group]
    starts = (~same_hash).nonzero()[:, 0]  # where a group begins; its rows are in their own order
    group = (~same_hash).long().cumsum(dim=0) - 1
    first = torch.empty_like(order)
    first[order] = order[starts][group]
    return first


def _bits(rows: Tensor) -> Tensor:
    """``rows`` (n, D) as the integers of their bits, the same for 0 and -0."""
    rows = (rows if rows.dtype in (torch.float32, torch.float64) else rows.float()).contiguous() + 0.0
    return rows.view(torch.int64) if rows.dtype == torch.float64 else rows.view(torch.int32).long()
