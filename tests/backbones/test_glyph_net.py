from __future__ import annotations

import pytest
import torch

from metricforge.backbones import GlyphNet


@pytest.mark.parametrize("size", [16, 36, 40, 64])
def test_features_are_of_the_promised_size(size):
    net = GlyphNet(width=4, feature_dim=10)
    assert net(torch.randn(2, 3, size, size)).shape == (2, 10)
    assert net.feature_dim == 10


def test_only_the_mean_of_the_channels_counts():
    net = GlyphNet(width=4, feature_dim=10).eval()
    images = torch.randn(2, 3, 40, 40)
    grey = images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(net(images), net(grey), atol=1e-5)


def test_it_learns_to_tell_two_strokes_apart():
    torch.manual_seed(0)
    net = GlyphNet(width=4, feature_dim=2)
    images = torch.full((16, 3, 40, 40), -1.0)
    labels = torch.arange(16) % 2
    for i in range(16):
        if labels[i]:
            images[i, :, :, 12 + i] = 1
        else:
            images[i, :, 12 + i, :] = 1
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize("name", ["width", "feature_dim"])
def test_sizes_below_1_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1, got 0"):
        GlyphNet(**{name: 0})
