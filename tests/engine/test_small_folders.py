"""What a small folder cannot give is said before weights are read; what the recipe can adapt, it adapts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metricforge import build_runner
from metricforge.errors import CheckpointError, ConfigError, DatasetError


def folder(root: Path, classes: int, images: int) -> Path:
    generator = np.random.default_rng(0)
    for number in range(classes):
        (root / f"{number:02d}").mkdir(parents=True)
        for image in range(images):
            pixels = generator.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{number:02d}" / f"{image}.png")
    return root


def build(root: Path, **overrides):
    absent = {"model.backbone.weights": str(root / "nowhere.pth")}
    return build_runner("normsoftmax_folder", overrides=absent | {"data_root": str(root)} | overrides, device="cpu")


def test_a_k_beyond_the_test_images_is_said_before_weights_are_read(tmp_path):
    with pytest.raises(
        ConfigError, match=r"evaluators\[0\]: on the test images: ks of RecallAtK must be at most 5, .* leave out \[8\]"
    ):
        build(folder(tmp_path, classes=4, images=3))


def test_test_images_of_which_no_two_are_alike_are_refused_before_weights_are_read(tmp_path):
    with pytest.raises(DatasetError, match=r"each of the 12 images is the only one of its class, so RecallAtK has"):
        build(folder(tmp_path, classes=24, images=1))


def test_more_classes_in_a_batch_than_there_are_is_said_before_weights_are_read(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train_dataloader\.sampler: classes_per_batch \(16\) is more than the 6 classes"
    ):
        build(folder(tmp_path, classes=12, images=4), **{"train_dataloader.sampler.fewer_classes": "error"})


def test_the_folder_recipe_takes_twelve_classes_and_says_how(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = folder(tmp_path / "images", classes=12, images=4)
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        build(root)
    overrides = {"data_root": str(root), "model.backbone": dict(type="GlyphNet"), "baselines": None}
    runner = build_runner("normsoftmax_folder", overrides=overrides, device="cpu")
    runner.describe()
    assert "batches have 6 classes with 4 images each instead of 16 with 4" in capsys.readouterr().out.replace(
        "\n", " "
    )
