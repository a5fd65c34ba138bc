"""What a test image goes through before the backbone: what its weights are evaluated by, unless the config says."""

from __future__ import annotations

import json

import pytest

from metricforge import build_runner
from metricforge.config import read_config

LITE = ["Resize(size=[256], interpolation=bicubic", "CenterCrop(size=(224, 224))"]


@pytest.fixture
def untold(tiny_config):
    """A config whose test set has no transform, with a network of timm."""
    tiny_config["model"]["backbone"] = dict(type="TimmBackbone", name="tf_efficientnet_lite0")
    del tiny_config["test_dataloader"]["dataset"]["transform"]
    return tiny_config


def test_a_test_set_without_a_transform_takes_the_backbone_s_and_the_run_s_config_holds_it(untold, tmp_path):
    runner = build_runner(untold, work_dir=tmp_path / "run", device="cpu")
    steps = [repr(step) for step in runner.test_dataloader.dataset.transform]
    assert [step.startswith(start) for step, start in zip(steps, LITE, strict=True)] == [True, True]
    assert runner.test_dataloader.dataset[0]["image"].shape == (3, 224, 224)
    assert runner.cfg.test_dataloader.dataset.transform == [
        dict(type="Resize", size=256, interpolation="bicubic"),
        dict(type="CenterCrop", size=224),
    ]


def test_scores_name_the_preprocessing_they_were_measured_by(untold, tmp_path):
    untold["model"]["backbone"] = dict(type="TimmBackbone", name="test_resnet")
    untold["train_dataloader"]["dataset"]["transform"] = [dict(type="Resize", size=(32, 32))]
    untold["train_cfg"]["max_epochs"] = 1
    runner = build_runner(untold, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    told = json.loads((tmp_path / "run" / "scores.json").read_text())["protocol"]["preprocessing"]
    assert "Resize(size=[168], interpolation=bilinear" in told["transform"]
    assert "CenterCrop(size=(160, 160))" in told["transform"]
    assert told["mean"] == list(runner.model.backbone.mean)
    (dumped,) = (tmp_path / "run").glob("*.py")
    again = build_runner(read_config(dumped), checkpoint=tmp_path / "run" / "iter_6.pth", device="cpu")
    assert again.test() == runner.last_scores


@pytest.mark.parametrize("told", [[dict(type="CenterCrop", size=16)], []])
def test_what_the_config_says_holds(untold, tmp_path, told):
    untold["test_dataloader"]["dataset"]["transform"] = told
    runner = build_runner(untold, work_dir=tmp_path / "run", device="cpu")
    assert len(runner.test_dataloader.dataset.transform) == len(told)


def test_pictures_that_are_no_files_stay_as_they_are(untold, tmp_path):
    untold["test_dataloader"]["dataset"] = dict(type="GlyphDataset", split="test")
    runner = build_runner(untold, work_dir=tmp_path / "run", device="cpu")
    assert runner.test_dataloader.dataset.transform == []
