from __future__ import annotations

import pytest
import torch

from metricforge.backbones import RawPixels


def test_a_picture_is_its_own_feature():
    images = torch.randn(2, 3, 4, 5)
    backbone = RawPixels(4, 5)
    assert backbone.feature_dim == 60
    assert torch.equal(backbone(images), images.reshape(2, 60))


def test_grey_averages_the_channels():
    images = torch.randn(2, 3, 4, 5)
    assert torch.allclose(RawPixels(4, 5, grey=True)(images), (images.sum(dim=1) / 3).reshape(2, 20))


def test_another_size_is_refused_with_both():
    with pytest.raises(ValueError, match=r"images are \(4, 6\), RawPixels expects \(4, 5\)"):
        RawPixels(4, 5)(torch.randn(1, 3, 4, 6))
