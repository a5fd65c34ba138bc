from __future__ import annotations

import random

import pytest
import torch

from metricforge import TRANSFORMS
from metricforge.testing import check_transform


class Noise:
    """Small and right; the rest break it."""

    def __call__(self, image):
        return (image.int() + torch.randint(-9, 10, image.shape)).clamp(0, 255).to(torch.uint8)


def test_a_transform_that_keeps_the_contract_passes():
    check_transform(Noise())


@pytest.mark.parametrize("config", [dict(type="RandomCrop", size=24), dict(type="RandomHorizontalFlip")])
def test_transforms_of_torchvision_pass(config):
    check_transform(TRANSFORMS.build(config))


class GivesFloats(Noise):
    def __call__(self, image):
        return image / 255


class ChangesTheImage(Noise):
    def __call__(self, image):
        return image.div_(2, rounding_mode="floor")


class DrawsFromPython(Noise):
    def __call__(self, image):
        return image.roll(int(100 * random.random()), dims=2)


class DropsAChannel(Noise):
    def __call__(self, image):
        return image[:1]


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (GivesFloats, "it is torch.float32"),
        (ChangesTheImage, "it was changed in place"),
        (DrawsFromPython, "draw from torch's"),
        (DropsAChannel, r"shape \(1, 48, 64\), not \(3, H, W\)"),
    ],
)
def test_a_broken_transform_is_caught_and_the_clause_is_named(transform, said):
    with pytest.raises(AssertionError, match=rf"^{transform.__name__}: .*{said}"):
        check_transform(transform())
