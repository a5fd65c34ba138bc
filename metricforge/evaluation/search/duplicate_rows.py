"""Which rows of a matrix are the same as an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor

NUMBERS_AT_ONCE = 2**20


def first_duplicates(rows: Tensor) -> Tensor:
    """The index of the first row that equals each row of ``rows`` (N, D) float32: (N,), its own where there is none."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator).to(rows.device)  # (D,)
    step = max(1, NUMBERS_AT_ONCE // rows.shape[1])
    hashes = torch.empty(len(rows), dtype=torch.int64, device=rows.device)  # modulo 2**64; 0 and -0 alike
    for start in range(0, len(rows), step):
        numbers = (rows[start : start + step] + 0.0).view(torch.int32).long()
        hashes[start : start + step] = (numbers * factors).sum(dim=1)
    order = hashes.argsort(stable=True)
    in_order = hashes[order]
    same_hash = torch.nn.functional.pad(in_order[1:] == in_order[:-1], (1, 0))  # (N,): as the one before in this order
    places = same_hash.nonzero()[:, 0]
    for some in places.split(step):  # type: ignore[no-untyped-call]
        if not torch.equal(rows[order[some]], rows[order[some - 1]]):  # two different rows of one hash
            distinct, group = torch.unique(rows, dim=0, return_inverse=True)
            first = torch.full((len(distinct),), len(rows), device=rows.device)
            return first.scatter_reduce(0, group, torch.arange(len(rows), device=rows.device), reduce="amin")[group]
    starts = (~same_hash).nonzero()[:, 0]  # where a group begins; its rows are in their own order
    group = (~same_hash).long().cumsum(dim=0) - 1
    first = torch.empty_like(order)
    first[order] = order[starts][group]
    return first
