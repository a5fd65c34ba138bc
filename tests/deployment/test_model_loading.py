from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metricforge.deployment import load_model
from metricforge.deployment.model_loading import preprocessing_of
from metricforge.errors import CheckpointError, ConfigError


def test_a_run_s_folder_and_its_best_checkpoint_are_one_model(trained_run):
    assert load_model(trained_run).hash == load_model(trained_run / "best.pth").hash


def test_a_run_without_chosen_weights_gives_its_newest(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    (tmp_path / "run" / "best.pth").unlink()
    newest = next(trained_run.glob("iter_*.pth"))
    assert load_model(tmp_path / "run").hash == load_model(newest).hash


def test_neither_the_data_nor_the_config_is_needed(trained_run, tmp_path, image_folder):
    shutil.copy(trained_run / "best.pth", tmp_path / "model.pth")
    photo = next(image_folder.rglob("*.png"))
    assert np.array_equal(load_model(tmp_path / "model.pth").embed(photo), load_model(trained_run).embed(photo))


def test_what_is_no_model_is_told(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist; name a run's folder, a checkpoint or a bundle"):
        load_model(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="is neither a run's folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_cannot_compute_is_refused_with_those_there_are(trained_run, device: str):
    with pytest.raises(ConfigError, match=f"--device {device}: cannot be used; this machine has cpu"):
        load_model(trained_run, device=device)


def test_a_model_of_glyphs_takes_images_of_any_size():
    assert preprocessing_of(dict(type="GlyphDataset", split="test")) == [dict(type="Resize", size=(40, 40))]
