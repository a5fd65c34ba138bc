"""Images of a size that the backbone does not take are refused before anything is trained or scored."""

from __future__ import annotations

import pytest

from metricforge import build_runner
from metricforge.errors import ConfigError

VIT = dict(type="TimmBackbone", name="vit_tiny_patch16_224", depth=1)
SWIN = dict(type="TimmBackbone", name="swin_tiny_patch4_window7_224", depths=[1, 1, 1, 1])


@pytest.fixture
def of_size(tiny_config):
    def change(backbone, train, test):
        tiny_config["model"]["backbone"] = backbone
        tiny_config["train_dataloader"]["dataset"]["transform"] = [dict(type="Resize", size=(train, train))]
        tiny_config["test_dataloader"]["dataset"]["transform"] = [dict(type="Resize", size=(test, test))]
        tiny_config["train_cfg"]["max_epochs"] = 1
        return tiny_config

    return change


@pytest.mark.parametrize("backbone", [VIT, SWIN], ids=lambda backbone: backbone["name"])
def test_the_error_names_both_sizes_and_the_argument(of_size, backbone, tmp_path):
    told = (
        r"train_dataloader\.dataset\.transform: makes images of 64 x 64, which do not fit TimmBackbone "
        rf"{backbone['name']}, whose input size is 224 x 224; set model\.backbone\.img_size=64, or let the transform"
    )
    with pytest.raises(ConfigError, match=told):
        build_runner(of_size(backbone, 64, 64), work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_test_images_are_compared_too(of_size, tmp_path):
    with pytest.raises(ConfigError, match=r"test_dataloader\.dataset\.transform: makes images of 48 x 48"):
        build_runner(of_size(VIT | dict(img_size=64), 64, 48), work_dir=tmp_path / "run", device="cpu")


@pytest.mark.parametrize("backbone", [VIT, SWIN], ids=lambda backbone: backbone["name"])
def test_the_way_out_trains_and_scores(of_size, backbone, tmp_path):
    runner = build_runner(of_size(backbone | dict(img_size=64), 64, 64), work_dir=tmp_path / "run", device="cpu")
    runner.train()
    assert 0 <= runner.last_scores["recall@1"] <= 1


def test_a_backbone_without_a_size_of_its_own_says_that_images_are_too_small(of_size, tmp_path):
    config = of_size(dict(type="TorchvisionBackbone", name="alexnet"), 16, 16)
    with pytest.raises(
        ConfigError, match=r"images of 16 x 16, .*TorchvisionBackbone alexnet; let the transform make l"
    ):
        build_runner(config, work_dir=tmp_path / "run", device="cpu")


def test_the_check_leaves_the_random_numbers_of_a_run_as_they_are(tiny_config, tmp_path, monkeypatch):
    checked = build_runner(tiny_config, work_dir=tmp_path / "a", device="cpu")
    checked.train()
    monkeypatch.setattr("metricforge.assembly.run_model.check_input_size", lambda *args: None)
    unchecked = build_runner(tiny_config, work_dir=tmp_path / "b", device="cpu")
    unchecked.train()
    assert checked.last_scores == unchecked.last_scores
