"""Poolings that timm has not for every network: generalised means with a learned exponent, and attention."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from timm.layers import AttentionPoolLatent, SelectAdaptivePool2d
from torch import Tensor, nn

POOLINGS = ("gem", "attention")
OF_TRANSFORMER = "attn_pool"  # timm's name of the layer that pools a ViT's tokens
HEAD_CHANNELS = 64  # of an attention head, as in a ViT


class GeneralizedMeanPool(nn.Module):
    """The mean of the p-th powers of each channel, to the power 1/p (Radenovic et al. 2018, Eq. 3); p is learned.

    p = 1 is the mean, large p the maximum. Values below ``smallest`` count as this: powers need positive numbers.
    Computed in float32, also under autocast.

    Args:
        p: at the start, at least 1.
        smallest: above 0.
    """

    def __init__(self, p: float = 3.0, smallest: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(float(p)))
        self.smallest = smallest

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens`` (B, T, F) to features (B, F)."""
        # a bundle's shapes are compared on the device "meta", which has no autocast
        in_float32 = nullcontext() if tokens.is_meta else torch.autocast(tokens.device.type, enabled=False)
        with in_float32:
            powers = tokens.float().clamp_min(self.smallest).pow(self.p)  # (B, T, F)
            return powers.mean(dim=1).pow(1 / self.p).to(tokens.dtype)  # (B, F)


class MapPool(nn.Module):
    """Pools a feature map by a pooling of tokens, in the place of timm's ``SelectAdaptivePool2d``.

    Args:
        tokens: maps (B, T, F) to (B, F).
        replaced: the pooling whose place it takes, and whose form of input and output it keeps.
    """

    def __init__(self, tokens: nn.Module, replaced: SelectAdaptivePool2d) -> None:
        super().__init__()
        self.tokens = tokens
        self.channels_last = getattr(replaced.pool, "dim", (2, 3)) == (1, 2)
        self.flat = isinstance(replaced.flatten, nn.Flatten) or bool(getattr(replaced.pool, "flatten", False))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.tokens(as_tokens(x, channels_last=self.channels_last))  # (B, F)
        if self.flat:
            return features
        return features[:, None, None] if self.channels_last else features[:, :, None, None]


def install_pooling(model: nn.Module, name: str, pooling: str) -> None:
    """Let timm's ``model``, called ``name``, pool by "gem" or "attention", with weights that are trained.

    Raises:
        ValueError: if it pools in a way that cannot be replaced.
    """
    channels = int(model.num_features)  # type: ignore[arg-type]
    tokens: nn.Module = GeneralizedMeanPool()
    if pooling == "attention":
        tokens = AttentionPoolLatent(channels, num_heads=max(1, channels // HEAD_CHANNELS))
    where = pooling_layer(model, name, pooling)
    parent, _, last = where.rpartition(".")
    if last == OF_TRANSFORMER:
        model.attn_pool = tokens
    else:  # the pooling's "tokens"
        above, _, own = parent.rpartition(".")
        setattr(model.get_submodule(above), own, MapPool(tokens, model.get_submodule(parent)))  # type: ignore[arg-type]


def pooling_layer(model: nn.Module, name: str, pooling: str) -> str:
    """The layer of timm's ``model``, called ``name``, that has the weights of an installed "gem" or "attention".

    Raises:
        ValueError: if it pools in a way that cannot be replaced.
    """
    if hasattr(model, OF_TRANSFORMER):  # it takes the place of the class token
        return OF_TRANSFORMER
    maps = [where for where, module in model.named_modules() if isinstance(module, SelectAdaptivePool2d)]
    if len(maps) != 1:
        raise ValueError(
            f'global_pool: {name} has no one pooling of its features that "{pooling}" could replace; take one of '
            'timm\'s, such as "avg", or leave it out'
        )
    return f"{maps[0]}.tokens"


def as_tokens(features: Tensor, *, channels_last: bool) -> Tensor:
    """A network's unpooled ``features``, tokens (B, T, F) or a map (B, F, H, W), as tokens (B, T, F)."""
    if features.ndim == 3:
        return features
    return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
