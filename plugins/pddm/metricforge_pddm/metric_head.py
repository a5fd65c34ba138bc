"""What PDDM and LMDM are: Eq. 2 of Huang et al. (NIPS 2016), with the mean of two embeddings or without it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metricforge import Similarity, functional
from metricforge_pddm.pair_unit import (
    check_unit,
    difference_direction,
    direction,
    in_row_blocks,
    in_tiles,
    is_plain,
    linear,
    unit_rows,
)


class MetricHead(Similarity):
    """A similarity learned from the difference of two L2-normalised embeddings and, in PDDM, from their mean.

    Args:
        dim: embedding size D >= 1.
        hidden: width of the layers; None is ``dim``.
        dropout: share of activations dropped in training, 0 <= dropout < 1.
        with_mean: whether the mean of both embeddings, their position, is part of it.

    Raises:
        ValueError: for arguments outside these ranges, or embeddings of another size.
    """

    search = None
    symmetric = True

    def __init__(self, dim: int, hidden: int | None, dropout: float, *, with_mean: bool) -> None:
        super().__init__()
        width = check_unit(dim, hidden, dropout)
        self.difference = nn.Linear(dim, width)  # W_u, b_u
        self.mean = nn.Linear(dim, width) if with_mean else None  # W_v, b_v
        self.combine = nn.Linear(2 * width if with_mean else width, width)  # W_c, b_c
        self.score = nn.Linear(width, 1)  # W_s, b_s
        self.dropout = nn.Dropout(dropout)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        same = x is y
        with torch.autocast(x.device.type, enabled=False):
            x, y = unit_rows(x, self.difference), unit_rows(y, self.difference)
            if functional.is_exporting():  # a graph has no loops: its memory grows with N x M x H
                return self._scores(x, y) if self.mean is None else self._scores_with_mean(x, *self._halves(x, y))
            if is_plain(self.dropout):
                return in_tiles(self._layers(), x, y[None], symmetric=same)
            width = max(self.difference.in_features, self.difference.out_features)
            if self.mean is None:
                return in_row_blocks(self._scores, (x,), (y,), width)
            x_half, _, y_half = self._halves(x, y)
            return in_row_blocks(self._scores_with_mean, (x, x_half), (y, y_half), width)

    def _halves(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The half of ``x`` (N, H), ``y``, and the half of ``y`` (M, H), as ``_scores_with_mean`` takes them.

        W_v (f_i + f_j) / 2 + b_v is the sum of a half from each side: no product for each pair.
        """
        assert self.mean is not None
        return linear(x, self.mean) / 2, y, linear(y, self.mean) / 2

    def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
        if not is_plain(self.dropout):
            return super().score_lists(x, lists)
        with torch.autocast(x.device.type, enabled=False):
            rows = unit_rows(lists.flatten(0, 1), self.difference).view(lists.shape)  # (N, L, D)
            return in_tiles(self._layers(), unit_rows(x, self.difference), rows)

    def _layers(self) -> dict[str, nn.Linear]:
        return {name: layer for name, layer in self.named_children() if isinstance(layer, nn.Linear)}

    def _scores(self, x: Tensor, y: Tensor) -> Tensor:
        difference = difference_direction(x, y, self.difference, self.dropout)  # (n, M, H)
        combined = linear(difference, self.combine).relu()  # (n, M, H)
        return linear(self.dropout(combined), self.score).squeeze(-1)  # (n, M)

    def _scores_with_mean(self, x: Tensor, x_half: Tensor, y: Tensor, y_half: Tensor) -> Tensor:
        difference = difference_direction(x, y, self.difference, self.dropout)  # (n, M, H)
        mean = direction(x_half[:, None] + y_half[None, :], self.dropout)  # (n, M, H)
        # W_c [u'; v'] in two products, so that u' and v' need not be concatenated.
        from_difference, from_mean = self.combine.weight.to(x.dtype).chunk(2, dim=1)  # (H, H) each
        combined = nn.functional.linear(difference, from_difference, self.combine.bias.to(x.dtype))  # (n, M, H)
        combined = (combined + nn.functional.linear(mean, from_mean)).relu()  # (n, M, H)
        return linear(self.dropout(combined), self.score).squeeze(-1)  # (n, M)
