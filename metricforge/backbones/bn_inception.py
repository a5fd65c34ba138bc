"""GoogLeNet with batch normalisation, the starting point of many metric-learning papers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, max_pool2d, pad

from metricforge.backbones.frozen_batch_norm import freeze_batch_norm
from metricforge.backbones.weights_file import load_weights_file
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES

# Channels of: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3 (both of them), projection of what was pooled. Those
# without the first and the last halve the image.
_MODULES = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}
_MAX_POOLED = "inception_5b"
_WHERE = (
    "put it there, or name another with weights=FILE: ImageNet's bn_inception-52deb4733.pth is what bninception() of "
    "the Python package pretrainedmodels (R. Cadene) downloads, into the folder checkpoints of torch.hub.get_dir()"
)


@BACKBONES.register_module()
class BNInception(Backbone):
    """BN-Inception (Ioffe and Szegedy 2015, Figure 5): images (B, 3, H, W) to pooled features (B, 1024).

    H and W are at least 7; it was designed for 224. This is the Caffe network that the papers' weights belong to:
    convolutions have biases, and 4c and 4d give 608 channels, 4e 1,056, the sums of Figure 5's branches, where its
    column of output sizes has 576 and 1,024. Where 3c or 4e halves an odd size, which that network cannot, its pooling
    sees a border of zeros.

    Layers have the names of the package pretrainedmodels, whose files expect blue, green, red in 0..255 less a mean.
    ``mean`` and ``std`` map images from 0..1 to that range, and ``forward`` reverses the channels: images come as red,
    green, blue as everywhere else, weights stay as in the file, and a saved state dict is again such a file. Without
    ``weights`` they are random: nothing is ever downloaded.

    Args:
        weights: a local file (state dict, .pth or .safetensors), such as ``bn_inception-52deb4733.pth``, with or
            without its classifier.
        frozen_batch_norm: whether BatchNorm keeps its statistics, weight and bias in training.

    Raises:
        CheckpointError: if the file is absent, unreadable or of another network.
    """

    feature_dim = 1024
    mean = (128 / 255, 117 / 255, 104 / 255)
    std = (1 / 255, 1 / 255, 1 / 255)

    def __init__(self, weights: str | Path | None = None, frozen_batch_norm: bool = False) -> None:
        super().__init__()
        self._add_unit("conv1_7x7_s2", 3, 64, kernel=7, stride=2)
        self._add_unit("conv2_3x3_reduce", 64, 64)
        self._add_unit("conv2_3x3", 64, 192, kernel=3)
        channels = 192
        for module, (single, reduced, wide, double_reduced, double, projected) in _MODULES.items():
            name, stride = f"inception_{module}", 1 if projected else 2
            if projected:
                self._add_unit(f"{name}_1x1", channels, single)
                self._add_unit(f"{name}_pool_proj", channels, projected)
            self._add_unit(f"{name}_3x3_reduce", channels, reduced)
            self._add_unit(f"{name}_3x3", reduced, wide, kernel=3, stride=stride)
            self._add_unit(f"{name}_double_3x3_reduce", channels, double_reduced)
            self._add_unit(f"{name}_double_3x3_1", double_reduced, double, kernel=3)
            self._add_unit(f"{name}_double_3x3_2", double, double, kernel=3, stride=stride)
            channels = single + wide + double + (projected or channels)
        assert channels == self.feature_dim, channels
        if weights is not None:
            load_weights_file(self, weights, ["last_linear"], absent=_WHERE)
        if frozen_batch_norm:
            freeze_batch_norm(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self._units(images.flip(1), "conv1_7x7_s2")  # (B, 64, H/2, W/2)
        x = max_pool2d(x, 3, stride=2, ceil_mode=True)
        x = self._units(x, "conv2_3x3_reduce", "conv2_3x3")  # (B, 192, H/4, W/4)
        x = max_pool2d(x, 3, stride=2, ceil_mode=True)
        for module in _MODULES:
            x = self._inception(x, f"inception_{module}")
        return adaptive_avg_pool2d(x, 1).flatten(start_dim=1)  # (B, F)

    def _inception(self, x: Tensor, name: str) -> Tensor:
        branches = [
            self._units(x, f"{name}_3x3_reduce", f"{name}_3x3"),
            self._units(x, f"{name}_double_3x3_reduce", f"{name}_double_3x3_1", f"{name}_double_3x3_2"),
        ]
        if not hasattr(self, f"{name}_pool_proj"):
            height, width = x.shape[2:]
            # a convolution of stride 2 rounds an odd size up, pooling down; zero never wins among outputs of a ReLU
            whole = pad(x, (0, width % 2, 0, height % 2))
            return torch.cat([*branches, max_pool2d(whole, 3, stride=2, ceil_mode=True)], dim=1)
        pooled = (max_pool2d if name == _MAX_POOLED else avg_pool2d)(x, 3, stride=1, padding=1)
        return torch.cat([self._units(x, f"{name}_1x1"), *branches, self._units(pooled, f"{name}_pool_proj")], dim=1)

    def _add_unit(self, name: str, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2)
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(channels_out))

    def _units(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = getattr(self, f"{name}_bn")(getattr(self, name)(x)).relu_()
        return x
