"""What the two metric heads share: their layers' steps, and pair scores computed in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from metricforge import functional

# Floats in the largest tensor of a block, 8 MiB of them: a batch of 128 at 128 dimensions is one block still, and
# larger blocks are slower on a CPU, whose cache they leave.
MAX_BLOCK_ELEMENTS = 2**21


def check_unit(dim: int, hidden: int | None, dropout: float) -> int:
    """The unit's width; raises ValueError unless ``dim`` and ``hidden`` are >= 1, and 0 <= ``dropout`` < 1."""
    functional.check_at_least("dim", dim, 1)
    if hidden is not None:
        functional.check_at_least("hidden", hidden, 1)
    functional.check_at_least("dropout", dropout, 0)
    if dropout >= 1:
        raise ValueError(f"dropout must be in 0 <= dropout < 1, got {dropout}; the paper's is 0.5")
    return dim if hidden is None else hidden


def unit_rows(embeddings: Tensor, layer: nn.Linear) -> Tensor:
    """Rows (N, D) scaled to length 1, in the precision of ``layer``'s weights, at least float32."""
    if embeddings.dim() != 2 or embeddings.shape[1] != layer.in_features:
        raise ValueError(
            f"embeddings must be (N, {layer.in_features}), as dim={layer.in_features} says, "
            f"got shape {tuple(embeddings.shape)}; leave dim out of the config and it is filled in"
        )
    return functional.l2_normalize(embeddings.to(functional.in_float32(layer.weight).dtype))


def linear(inputs: Tensor, layer: nn.Linear) -> Tensor:
    """``layer`` of ``inputs`` (..., D), with its weights in at least float32."""
    bias = None if layer.bias is None else functional.in_float32(layer.bias)
    return nn.functional.linear(inputs, functional.in_float32(layer.weight), bias)


def direction(activations: Tensor, dropout: nn.Dropout) -> Tensor:
    """ReLU, dropout and ``r``, the scaling to length 1 (..., H), in Eq. 2; a zero vector stays zero."""
    return nn.functional.normalize(dropout(activations.relu()), dim=-1)


def difference_direction(x: Tensor, y: Tensor, layer: nn.Linear, dropout: nn.Dropout) -> Tensor:
    """Eq. 2's u' (n, M, H): ``r(relu(W_u |x - y| + b_u))`` for each row of ``x`` (n, D) and of ``y`` (M, D)."""
    return direction(linear((x[:, None] - y[None, :]).abs(), layer), dropout)


def in_row_blocks(
    score: Callable[..., Tensor], by_row: Sequence[Tensor], whole: Sequence[Tensor], width: int
) -> Tensor:
    """``score(*rows of by_row, *whole)`` (n, M) for blocks of rows, put together (N, M).

    A block holds at most ``MAX_BLOCK_ELEMENTS`` floats a tensor, or one row. In training, where there are several
    blocks, each is computed again in the backward pass, so that memory stays bounded there too.
    """
    rows = max(1, MAX_BLOCK_ELEMENTS // max(1, len(whole[0]) * width))
    blocks = list(zip(*(torch.split(columns, rows) for columns in by_row), strict=True))
    if len(blocks) > 1 and torch.is_grad_enabled():
        return torch.cat([checkpoint(score, *block, *whole, use_reentrant=False) for block in blocks])
    return torch.cat([score(*block, *whole) for block in blocks])
