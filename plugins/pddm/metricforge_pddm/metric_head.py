"""What PDDM and LMDM are: Eq. 2 of Huang et al. (NIPS 2016), with the mean of two embeddings or without it."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from metricforge import Similarity, functional
from metricforge_pddm.pair_unit import (
    check_unit,
    direction,
    in_row_blocks,
    in_tiles,
    is_plain,
    linear,
    unit_rows,
)

Init = Literal["random", "distance"]
START_NOISE = 0.1  # of torch's weights, which tells the units of c apart
START_SCALE = 20.0  # by which the score falls, at most, between images that are the same and very distant ones


class MetricHead(Similarity):
    """A similarity learned from the difference of two L2-normalised embeddings and, in PDDM, from their mean.

    Args:
        dim: embedding size D >= 1.
        hidden: width of the layers; None is ``dim``.
        dropout: share of activations dropped in training, 0 <= dropout < 1.
        init: ``"random"``, or ``"distance"``: the score begins as a falling function of the Euclidean distance.
        with_mean: whether the mean of both embeddings, their position, is part of it.

    Raises:
        ValueError: for arguments outside these ranges, or embeddings of another size.
    """

    search = None
    symmetric = True

    def __init__(self, dim: int, hidden: int | None, dropout: float, init: Init, *, with_mean: bool) -> None:
        super().__init__()
        if init not in get_args(Init):
            raise ValueError(f'init must be "random" or "distance", got {init!r}')
        width = check_unit(dim, hidden, dropout)
        self.difference = nn.Linear(dim, width)  # W_u, b_u
        self.mean = nn.Linear(dim, width) if with_mean else None  # W_v, b_v
        self.combine = nn.Linear(2 * width if with_mean else width, width)  # W_c, b_c
        self.score = nn.Linear(width, 1)  # W_s, b_s
        self.dropout = nn.Dropout(dropout)
        if init == "distance":
            self._start_as_distance()

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

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores (P,) of row p of ``x`` (P, D) and row p of ``y`` (P, D): what a loss of few pairs differentiates."""
        with torch.autocast(x.device.type, enabled=False):
            x, y = unit_rows(x, self.difference), unit_rows(y, self.difference)
            means = None if self.mean is None else linear((x + y) / 2, self.mean)  # (P, H)
            return self._score((x - y).abs(), means)

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
        return self._score((x[:, None] - y[None, :]).abs(), None)  # (n, M)

    def _scores_with_mean(self, x: Tensor, x_half: Tensor, y: Tensor, y_half: Tensor) -> Tensor:
        return self._score((x[:, None] - y[None, :]).abs(), x_half[:, None] + y_half[None, :])  # (n, M)

    def _score(self, differences: Tensor, means: Tensor | None) -> Tensor:
        """Eq. 2 (...) from ``|f_i - f_j|`` (..., D) and, in PDDM, ``W_v (f_i + f_j) / 2 + b_v`` (..., H)."""
        difference = direction(linear(differences, self.difference), self.dropout)  # u' (..., H)
        if means is None:
            combined = linear(difference, self.combine).relu()  # (..., H)
        else:
            mean = direction(means, self.dropout)  # v' (..., H)
            # W_c [u'; v'] in two products, so that u' and v' need not be concatenated.
            from_difference, from_mean = self.combine.weight.to(mean.dtype).chunk(2, dim=1)  # (H, H) each
            combined = nn.functional.linear(difference, from_difference, self.combine.bias.to(mean.dtype))
            combined = (combined + nn.functional.linear(mean, from_mean)).relu()  # (..., H)
        return linear(self.dropout(combined), self.score).squeeze(-1)

    @torch.no_grad()
    def _start_as_distance(self) -> None:
        """Set the weights so that the score falls with the distance from the start.

        The rows of W_u sum up to nothing, so that ``W_u u + b_u``, all of it above 0, has the sum of b_u alone, and its
        length grows with ``|u|``: the sum of u' is ``3 / sqrt(9 + |u|^2)`` times sqrt(H). One half of c is that sum and
        a little of everything else, W_s takes its mean; the other half of c and v' enter when training wants them.
        """
        width = self.difference.out_features
        half = (width + 1) // 2
        nn.init.orthogonal_(self.difference.weight)
        self.difference.weight -= self.difference.weight.mean(dim=0)
        self.difference.bias.fill_(3 / width**0.5)
        self.combine.weight[:half, :width].mul_(START_NOISE).add_(width**-0.5)
        self.combine.weight[:half, width:] = 0
        self.combine.bias[:half] = 0
        self.score.weight.zero_()
        self.score.weight[:, :half] = START_SCALE / half
        self.score.bias.fill_(-START_SCALE)
