"""The PDDM unit without its knowledge of position: a similarity learned from the difference of two embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metricforge import SIMILARITIES, Similarity
from metricforge_pddm.pair_unit import (
    check_unit,
    difference_direction,
    in_row_blocks,
    in_tiles,
    is_plain,
    linear,
    unit_rows,
)


@SIMILARITIES.register_module()
class LMDM(Similarity):
    """Large margin deep metric, the baseline of the PDDM paper (Huang et al., NIPS 2016, Table 1).

    Eq. 2 from u alone, with f L2-normalised: ``u = |f_i - f_j|``, ``u' = r(relu(W_u u + b_u))``, ``c = relu(W_c u' +
    b_c)``, ``S = W_s c + b_s``. Range, symmetry, precision, memory and the place of dropout are as in PDDM.

    Args:
        dim: embedding size D >= 1.
        hidden: width of the unit's layers; None is ``dim``, as in the paper.
        dropout: share of activations dropped in training, 0 <= dropout < 1; the paper's is 0.5.

    Raises:
        ValueError: for arguments outside these ranges, or embeddings of another size.
    """

    search = None
    symmetric = True

    def __init__(self, dim: int, hidden: int | None = None, dropout: float = 0.5) -> None:
        super().__init__()
        width = check_unit(dim, hidden, dropout)
        self.difference = nn.Linear(dim, width)  # W_u, b_u
        self.combine = nn.Linear(width, width)  # W_c, b_c
        self.score = nn.Linear(width, 1)  # W_s, b_s
        self.dropout = nn.Dropout(dropout)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        same = x is y
        with torch.autocast(x.device.type, enabled=False):
            x, y = unit_rows(x, self.difference), unit_rows(y, self.difference)
            if is_plain(self.dropout):
                return in_tiles(self._layers(), x, y[None], symmetric=same)
            width = max(self.difference.in_features, self.difference.out_features)
            return in_row_blocks(self._scores, (x,), (y,), width)

    def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
        if not is_plain(self.dropout):
            return super().score_lists(x, lists)
        with torch.autocast(x.device.type, enabled=False):
            rows = unit_rows(lists.flatten(0, 1), self.difference).view(lists.shape)  # (N, L, D)
            return in_tiles(self._layers(), unit_rows(x, self.difference), rows)

    def _layers(self) -> dict[str, nn.Linear]:
        return {"difference": self.difference, "combine": self.combine, "score": self.score}

    def _scores(self, x: Tensor, y: Tensor) -> Tensor:
        difference = difference_direction(x, y, self.difference, self.dropout)  # (n, M, H)
        combined = linear(difference, self.combine).relu()  # (n, M, H)
        return linear(self.dropout(combined), self.score).squeeze(-1)  # (n, M)
