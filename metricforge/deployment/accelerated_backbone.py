"""A backbone that computes otherwise than it was trained: in bfloat16, compiled, with channels last."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.interfaces import Backbone


class AcceleratedBackbone(Backbone):
    """Features (B, F) float32 of ``backbone``, whose weights it takes over, up to what the options change.

    Args:
        backbone: what computes.
        bfloat16: compute in bfloat16, a third of float32's digits.
        channels_last: keep images with their channels innermost, as convolutions of most processors prefer.
        compiled: have torch compile it at the first batch of each size.
    """

    def __init__(
        self, backbone: Backbone, *, bfloat16: bool = False, channels_last: bool = False, compiled: bool = False
    ) -> None:
        super().__init__()
        self.feature_dim, self.mean, self.std = backbone.feature_dim, backbone.mean, backbone.std
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone = backbone.to(self._dtype).to(memory_format=self._format).eval()
        self._compute = torch.compile(self.backbone, dynamic=True) if compiled else self.backbone

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self._compute(images.to(self._dtype, memory_format=self._format))
        return features.float()
