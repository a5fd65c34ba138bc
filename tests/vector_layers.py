"""A backbone of two layers on vectors: few weights, and each process may hold a share of their rows."""

from __future__ import annotations

from torch import Tensor, nn

from metricforge import BACKBONES
from metricforge.interfaces import Backbone


@BACKBONES.register_module()
class VectorLayers(Backbone):
    """Vectors (B, 6) to features (B, 6)."""

    takes_images = False
    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.float()

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features
