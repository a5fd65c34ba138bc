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
