"""The layers between a backbone's pooled features and the embeddings that are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metricforge.functional.distances import in_float32, l2_normalize
from metricforge.functional.embedding_checks import check_at_least, check_count
from metricforge.interfaces import Head
from metricforge.registry import HEADS


@HEADS.register_module()
class EmbeddingHead(Head):
    """Features (B, F) to embeddings (B, D): dropout, LayerNorm, linear, L2 normalisation, each of them optional.

    LayerNorm has no parameters. It and the L2 normalisation are computed in float32, also under autocast; normalised
    embeddings come out in float32, and a row of zeros stays zero.

    Args:
        feature_dim: F, filled in from the backbone.
        dim: D; None for no linear layer, so that D = F (as in the NormSoftmax paper if the sizes agree).
        layer_norm: whether each feature vector is first normalised to mean 0 and variance 1.
        l2_normalize: whether embeddings have length 1.
        bias: whether the linear layer has one.
        dropout: probability in 0..1 (1 excluded) that training drops a feature.

    Raises:
        ValueError: for a size below 1 or not whole, a probability outside 0..1, or a bias without a linear layer.
    """

    def __init__(
        self,
        feature_dim: int,
        dim: int | None = None,
        layer_norm: bool = False,
        l2_normalize: bool = True,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("feature_dim", feature_dim), ("dim", dim)):
            if value is not None:
                check_count(name, value)
        check_at_least("dropout", dropout, 0)
        if dropout >= 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        if bias and dim is None:
            raise ValueError("bias=True needs a linear layer, and dim=None has none; give dim, or leave bias out")
        self.feature_dim = feature_dim
        self.dim = feature_dim if dim is None else dim
        self.l2_normalize = l2_normalize
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(feature_dim, elementwise_affine=False) if layer_norm else nn.Identity()
        self.linear = nn.Identity() if dim is None else nn.Linear(feature_dim, dim, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        features = self.dropout(features)  # (B, F)
        with torch.autocast(features.device.type, enabled=False):
            normalized = self.layer_norm(in_float32(features)).to(features.dtype)  # (B, F)
        embeddings = self.linear(normalized)  # (B, D)
        if self.l2_normalize:
            with torch.autocast(features.device.type, enabled=False):
                embeddings = l2_normalize(embeddings)
        return embeddings
