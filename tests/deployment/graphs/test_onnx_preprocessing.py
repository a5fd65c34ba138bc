"""The operations in the graph give torchvision's pixels, which are the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from metricforge.deployment.graphs.onnx_preprocessing import preprocessing_text
from metricforge.errors import MetricForgeError

onnx = pytest.importorskip("onnx", reason="needs metricforge[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs metricforge[onnx]")

SIZES = [(37, 53), (90, 41), (24, 24), (200, 31), (33, 33), (16, 300)]
BICUBIC = v2.InterpolationMode.BICUBIC


def levels(transform, image: torch.Tensor) -> np.ndarray:
    """What the graph makes of a photo, in levels of 0..255."""
    text = preprocessing_text(transform, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255), None, ir_version=10)
    session = onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString())
    return session.run(None, {"images": image.permute(1, 2, 0)[None].numpy()})[0][0]


def photo(height: int, width: int) -> torch.Tensor:
    """Smooth and noisy regions, as photos have them."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    smooth = torch.stack([(rows * k + columns) % 256 for k in (1, 2, 3)]).float()
    noise = torch.randint(0, 60, (3, height, width), generator=generator)
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "step",
    [
        v2.Resize(30),
        v2.Resize(size=[28, 45]),
        v2.Resize(64, interpolation="bicubic"),
        v2.Resize(20, interpolation=BICUBIC),
    ],
    ids=["shorter side", "both sides", "bicubic up", "bicubic down"],
)
def test_a_resized_pixel_is_torchvision_s_to_two_levels_and_most_are_the_same(step, size):
    image = photo(*size)
    expected = step(image).numpy().astype(np.float32)
    found = levels([step], image)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2.001
    assert np.abs(found - expected).mean() < 0.1


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [32, 33, 7])
def test_the_centre_is_torchvision_s_to_the_pixel_also_of_too_small_images(side, size):
    image, step = photo(*size), v2.CenterCrop(side)
    assert np.abs(levels([step], image) - step(image).numpy()).max() < 1e-3


def test_a_transform_without_operations_is_named():
    with pytest.raises(MetricForgeError, match="Grayscale cannot be put into an ONNX graph, only Resize"):
        preprocessing_text([v2.Grayscale(3)], (0,), (1,), None, 10)
    with pytest.raises(MetricForgeError, match="interpolation nearest"):
        preprocessing_text([v2.Resize(4, interpolation="nearest")], (0,), (1,), None, 10)
