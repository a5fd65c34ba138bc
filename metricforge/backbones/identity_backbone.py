"""Vectors as they come: the backbone of a training on embeddings that another network made."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.embedding_checks import check_at_least
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES


@BACKBONES.register_module()
class IdentityBackbone(Backbone):
    """Vectors (B, F) as their own features; nothing to train, so that a head alone learns from a ``VectorDataset``.

    Args:
        feature_dim: F; in a config it is filled in from the vectors.

    Raises:
        ValueError: for a size below 1, or anything but vectors of this size.

    Examples:
        >>> import torch
        >>> tuple(IdentityBackbone(feature_dim=768)(torch.zeros(4, 768)).shape)
        (4, 768)
    """

    takes_images = False

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        check_at_least("feature_dim", feature_dim, 1)
        self.feature_dim = feature_dim

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.float()

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim != 2 or inputs.shape[1] != self.feature_dim:
            raise ValueError(
                f"inputs are {tuple(inputs.shape)}, IdentityBackbone expects vectors (B, {self.feature_dim}); "
                "images need another backbone, such as TimmBackbone"
            )
        return inputs
