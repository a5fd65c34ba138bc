"""A small network that trains on letterforms in a minute."""

from __future__ import annotations

from torch import Tensor, nn

from metricforge.functional.embedding_checks import check_count
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES


@BACKBONES.register_module()
class GlyphNet(Backbone):
    """Three convolutions and a linear layer for small grey pictures (B, 3, H, W), H and W at least 16: features (B, F).

    The colour channels are averaged. It was made for the 40x40 pictures of GlyphDataset, and has no pretrained weights.

    Args:
        width: channels of the first convolution; the others have twice as many.
        feature_dim: F.

    Raises:
        ValueError: if either is below 1 or not whole.
    """

    def __init__(self, width: int = 32, feature_dim: int = 256) -> None:
        super().__init__()
        for name, value in (("width", width), ("feature_dim", feature_dim)):
            check_count(name, value)
        self.feature_dim = feature_dim
        self.layers = nn.Sequential(
            *_stage(1, width, kernel=5, stride=2),  # (B, width, H/4, W/4)
            *_stage(width, 2 * width, kernel=3, stride=1),  # (B, 2 width, H/8, W/8)
            *_stage(2 * width, 2 * width, kernel=3, stride=1)[:-1],
            # Where a stroke is tells letters apart: averaging over the whole picture would lose it.
            nn.AdaptiveAvgPool2d(5),
            nn.Flatten(),  # (B, 50 width)
            nn.Linear(50 * width, feature_dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.mean(dim=1, keepdim=True))  # (B, F)


def _stage(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    ]
