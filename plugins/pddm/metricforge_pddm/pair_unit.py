"""What the two metric heads share: their layers' steps, and pair scores computed in blocks of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from metricforge import functional

# Floats in the largest tensor of a block that is differentiated, 8 MiB of them: a batch of 128 at 128 dimensions is one
# block still, and larger blocks are slower on a CPU, whose cache they leave.
MAX_BLOCK_ELEMENTS = 2**21
# Floats in a tensor of a tile without gradients: on a CPU its three tensors stay in a core's cache from one step to the
# next, on a GPU a tile is large enough to keep it busy.
TILE_ELEMENTS = {"cpu": 2**18, "cuda": 2**24}
SHORTEST = 1e-12  # of the vectors that r divides by their length, as in nn.functional.normalize


def check_unit(dim: int, hidden: int | None, dropout: float) -> int:
    """The unit's width; raises ValueError unless ``dim`` and ``hidden`` are >= 1, and 0 <= ``dropout`` < 1."""
    functional.check_count("dim", dim)
    if hidden is not None:
        functional.check_count("hidden", hidden)
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


def is_plain(dropout: nn.Dropout) -> bool:
    """Whether scores are asked for without gradients and without dropout, so that ``in_tiles`` can give them."""
    return not torch.is_grad_enabled() and not (dropout.training and dropout.p > 0)


def in_tiles(unit: Mapping[str, nn.Linear], x: Tensor, lists: Tensor, *, symmetric: bool = False) -> Tensor:
    """Eq. 2 without gradients or dropout, in little more than its matrix products' time.

    Works in place on three tensors of ``TILE_ELEMENTS`` that every tile uses again.

    Args:
        unit: the layers ``difference``, ``combine``, ``score`` and, where there is one, ``mean``.
        x: rows (N, D) of length 1.
        lists: rows (N, M, D) of length 1, a list for each of ``x``; or (1, M, D), one list for all.
        symmetric: the one list is ``x``: each pair is computed once, and scores are symmetric to the last digit.

    Returns:
        Scores (N, M).
    """
    rows, columns, dim = len(x), lists.shape[1], x.shape[1]
    # W_v (f_i + f_j) / 2 + b_v is the sum of a half from each side: no product for each pair.
    halves = (linear(x, unit["mean"]) / 2, linear(lists, unit["mean"]) / 2) if "mean" in unit else None
    transposed = {name: functional.in_float32(layer.weight).T for name, layer in unit.items()}
    biases = {name: functional.in_float32(layer.bias) for name, layer in unit.items()}
    hidden = len(biases["difference"])
    of_difference, *of_mean = torch.split(transposed["combine"], hidden)  # (H, H) each
    high, wide = _tile_shape(rows, columns, max(dim, hidden), x.device.type)
    spaces = [x.new_empty(high * wide * max(dim, hidden)) for _ in range(3)]
    scores = x.new_empty(rows, columns)
    for top in range(0, rows, high):
        across = slice(top, min(top + high, rows))
        of_rows = across if len(lists) > 1 else slice(None)
        for left in range(top if symmetric else 0, columns, wide):
            down = slice(left, min(left + wide, columns))
            tile = (across.stop - top, down.stop - left)  # n, m
            pairs = tile[0] * tile[1]
            differences = _shaped(spaces[0], *tile, dim)  # (n, m, D)
            torch.sub(x[across, None], lists[of_rows, down], out=differences).abs_()
            codes = _shaped(spaces[1], pairs, hidden)  # (p, H)
            torch.addmm(biases["difference"], differences.view(pairs, dim), transposed["difference"], out=codes)
            combined = _shaped(spaces[2], pairs, hidden)  # (p, H)
            torch.addmm(biases["combine"], _turn_to_direction(codes), of_difference, out=combined)
            if halves is not None:
                sums = _shaped(spaces[0], *tile, hidden)  # (n, m, H)
                torch.add(halves[0][across, None], halves[1][of_rows, down], out=sums)
                combined.addmm_(_turn_to_direction(sums.view(pairs, hidden)), of_mean[0])
            tile_scores = torch.addmv(biases["score"], combined.relu_(), transposed["score"][:, 0])  # (p,)
            scores[across, down] = tile_scores.view(tile)
        if symmetric:
            square = scores[across, across]
            square.copy_(square.triu() + square.triu(1).T)
            scores[across.stop :, across] = scores[across, across.stop :].T
    return scores


def _tile_shape(rows: int, columns: int, width: int, device: str) -> tuple[int, int]:
    """Rows and columns of a tile of ``TILE_ELEMENTS`` / ``width`` pairs, at least one: a square where it can be."""
    pairs = max(1, TILE_ELEMENTS.get(device, TILE_ELEMENTS["cuda"]) // width)
    wide = max(1, min(columns, max(math.isqrt(pairs), pairs // max(1, rows))))
    return max(1, min(rows, pairs // wide)), wide


def _shaped(space: Tensor, *shape: int) -> Tensor:
    return space[: math.prod(shape)].view(shape)


def _turn_to_direction(activations: Tensor) -> Tensor:
    """ReLU and ``r`` of ``activations`` (p, H), in place."""
    lengths = torch.linalg.vector_norm(activations.relu_(), dim=1, keepdim=True)  # (p, 1)
    return activations.div_(lengths.clamp_min_(SHORTEST))


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
