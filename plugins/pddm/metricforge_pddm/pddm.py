"""The position-dependent deep metric: a similarity learned from where two embeddings lie, not only how far apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metricforge import SIMILARITIES, Similarity
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


@SIMILARITIES.register_module()
class PDDM(Similarity):
    """Position-dependent deep metric unit (Huang et al., NIPS 2016, Eq. 2).

    From L2-normalised f: ``u = |f_i - f_j|``, ``v = (f_i + f_j) / 2``, ``u' = r(relu(W_u u + b_u))``, ``v' =
    r(relu(W_v v + b_v))``, ``c = relu(W_c [u'; v'] + b_c)``, ``S = W_s c + b_s``, where r scales to length 1 and
    leaves a zero vector zero. Scores have no fixed range; they are symmetric in evaluation, up to rounding, while in
    training every ordered pair has dropout masks of its own. Computed in at least float32, also under autocast:
    mining compares scores that lie close together.

    ``search`` is None: no vector index ranks as this does. Memory is bounded by blocks of rows; time is
    3 N M dim^2 multiplications for N times M pairs, without gradients half of that for all pairs of one set.

    What the paper leaves open: dropout stands behind the ReLU of W_u, W_v and W_c, before r, so that u' and v' have
    length 1, and not behind W_s, where it would drop whole scores. Weights start as torch's linear layers do.

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
        self.mean = nn.Linear(dim, width)  # W_v, b_v
        self.combine = nn.Linear(2 * width, width)  # W_c, b_c
        self.score = nn.Linear(width, 1)  # W_s, b_s
        self.dropout = nn.Dropout(dropout)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        same = x is y
        with torch.autocast(x.device.type, enabled=False):
            x, y = unit_rows(x, self.difference), unit_rows(y, self.difference)
            if is_plain(self.dropout):
                return in_tiles(self._layers(), x, y[None], symmetric=same)
            # W_v (f_i + f_j) / 2 + b_v is the sum of a half from each side: no product for each pair.
            x_half, y_half = linear(x, self.mean) / 2, linear(y, self.mean) / 2  # (N, H), (M, H)
            width = max(self.difference.in_features, self.difference.out_features)
            return in_row_blocks(self._scores, (x, x_half), (y, y_half), width)

    def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
        if not is_plain(self.dropout):
            return super().score_lists(x, lists)
        with torch.autocast(x.device.type, enabled=False):
            rows = unit_rows(lists.flatten(0, 1), self.difference).view(lists.shape)  # (N, L, D)
            return in_tiles(self._layers(), unit_rows(x, self.difference), rows)

    def _layers(self) -> dict[str, nn.Linear]:
        return {"difference": self.difference, "mean": self.mean, "combine": self.combine, "score": self.score}

    def _scores(self, x: Tensor, x_half: Tensor, y: Tensor, y_half: Tensor) -> Tensor:
        difference = difference_direction(x, y, self.difference, self.dropout)  # (n, M, H)
        mean = direction(x_half[:, None] + y_half[None, :], self.dropout)  # (n, M, H)
        # W_c [u'; v'] in two products, so that u' and v' are not copied side by side.
        from_difference, from_mean = self.combine.weight.to(x.dtype).chunk(2, dim=1)  # (H, H) each
        combined = nn.functional.linear(difference, from_difference, self.combine.bias.to(x.dtype))  # (n, M, H)
        combined = (combined + nn.functional.linear(mean, from_mean)).relu()  # (n, M, H)
        return linear(self.dropout(combined), self.score).squeeze(-1)  # (n, M)
