"""The pixels themselves as features: the baseline that any trained embedding must beat."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.embedding_checks import check_at_least
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES


@BACKBONES.register_module()
class RawPixels(Backbone):
    """Images (B, 3, ``height``, ``width``) flattened to features (B, F); nothing to train, a baseline.

    Args:
        height: of the images.
        width: of the images.
        grey: whether the three channels are averaged, F = H W instead of 3 H W.

    Raises:
        ValueError: for a size below 1, or images of another size.
    """

    def __init__(self, height: int, width: int, grey: bool = False) -> None:
        super().__init__()
        check_at_least("height", height, 1)
        check_at_least("width", width, 1)
        self.size = (height, width)
        self.grey = grey
        self.feature_dim = height * width * (1 if grey else 3)

    def forward(self, images: Tensor) -> Tensor:
        if tuple(images.shape[2:]) != self.size:
            raise ValueError(
                f"images are {tuple(images.shape[2:])}, RawPixels expects {self.size}; add a Resize to the transform"
            )
        return (images.mean(dim=1) if self.grey else images).flatten(start_dim=1)  # (B, F)
