"""Eqs. 3 and 4 of the lifted structure paper on whole B x B matrices, left to autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import functional


def whole_matrix_loss(
    embeddings: Tensor, first: Tensor, second: Tensor, negative: Tensor, margin: float, smooth: bool
) -> Tensor:
    """The loss of positive pairs that are listed both ways, or all one way; it can be differentiated again and again.

    Args:
        embeddings: (B, D), in at least float32.
        first: (P,) the one end of each pair.
        second: (P,) the other.
        negative: (B, B) bool, symmetric: the pairs that count as negatives.
        margin: alpha of the paper.
        smooth: Eq. 4; False is Eq. 3.
    """
    distances = functional.pairwise_distances(embeddings, embeddings)  # (B, B)
    # A finite stand-in for -inf, so that rows without a negative have no NaN in their gradient, whatever torch's
    # version; halved, because differences of two such values must not overflow.
    lowest = torch.finfo(distances.dtype).min / 2
    pull = (margin - distances).masked_fill(~negative, lowest)  # (B, B)
    if smooth:
        rows = pull.logsumexp(dim=1)  # (B,)
        hardness = torch.logaddexp(rows[first], rows[second])  # (P,)
    else:
        rows = pull.amax(dim=1)  # (B,)
        hardness = torch.maximum(rows[first], rows[second])  # (P,)
    violations = (hardness + distances[first, second]).relu()  # (P,)
    return violations.square().sum() / (2 * max(len(first), 1))
