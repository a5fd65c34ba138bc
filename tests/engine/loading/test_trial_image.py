"""One training image goes through everything before training: what somebody's part gives wrong is found and named."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from metricforge import BACKBONES, TRANSFORMS, Backbone, build_runner
from metricforge.engine.loading.trial_image import try_first_image
from metricforge.errors import ConfigError, DatasetError


@BACKBONES.register_module()
class UnpooledBackbone(Backbone):
    """Says that it pools, and gives a feature map."""

    def __init__(self, feature_dim: int = 8) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.layer = nn.Conv2d(3, feature_dim, 3)

    def forward(self, images):
        return self.layer(images)


@BACKBONES.register_module()
class PatchBackbone(Backbone):
    """Cuts its images into patches larger than they are."""

    def __init__(self, feature_dim: int = 8) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.layer = nn.Conv2d(3, feature_dim, 64, stride=64)

    def forward(self, images):
        return self.layer(images).mean(dim=(2, 3))


@TRANSFORMS.register_module()
class ToFloat:
    """Does what many recipes do, and the model here does itself."""

    def __call__(self, image):
        return image.float() / 255


@TRANSFORMS.register_module()
class DrawsEverywhere:
    """Draws from each generator."""

    def __call__(self, image):
        torch.rand(3), random.random(), np.random.rand()
        return image


def test_a_backbone_of_another_shape_than_it_says_is_named_before_training(tiny_config, tmp_path):
    tiny_config["model"]["backbone"] = dict(type="UnpooledBackbone")
    told = r"UnpooledBackbone .*returns \(1, 8, \d+, \d+\), a feature map .*must return pooled features \(B, F\)"
    with pytest.raises(ConfigError, match=told):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_backbone_that_cannot_take_the_images_is_named_with_their_shape_before_training(tiny_config, tmp_path):
    tiny_config["model"]["backbone"] = dict(type="PatchBackbone")
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["transform"] = []  # so that the size depends on the image
    told = r"PatchBackbone .*cannot embed an image of shape \(3, \d+, \d+\): RuntimeError: .*Kernel size"
    with pytest.raises(ConfigError, match=told):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("transform", [[], [dict(type="CenterCrop", size=16)]], ids=["any size", "one size"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_too_little_memory_for_an_image_comes_through(error, transform, tiny_config, tmp_path, monkeypatch):
    def fail(self, images):
        raise error

    monkeypatch.setattr(PatchBackbone, "forward", fail)
    tiny_config["model"]["backbone"] = dict(type="PatchBackbone")
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["transform"] = transform
    with pytest.raises(type(error)) as raised:
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    assert raised.value is error


def test_a_transform_of_another_dtype_is_named_before_training(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["dataset"]["transform"] = [dict(type="ToFloat")]
    with pytest.raises(DatasetError, match=r"transform ToFloat .*made .*float32.*must return a uint8 tensor"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")


def test_it_changes_neither_generators_nor_weights_nor_statistics(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["dataset"]["transform"] = [dict(type="DrawsEverywhere")]
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    try_first_image(runner.model, runner.train_dataloader.dataset.dataset)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    torch.testing.assert_close(dict(runner.model.state_dict()), before, rtol=0, atol=0)
