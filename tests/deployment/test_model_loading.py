from __future__ import annotations

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from metricforge.deployment import load_model
from metricforge.deployment.model_loading import preprocessing_of
from metricforge.errors import CheckpointError, ConfigError
from tests.page_faults import faults_of_later_tensors

LOAD = "from metricforge import load_model\nmodel = load_model(sys.argv[1], device='cpu')"
LOAD_BUNDLE = "from metricforge import EmbeddingModel\nEmbeddingModel.from_pretrained(sys.argv[1], device='cpu')"


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's malloc")
def test_a_process_with_a_model_on_the_cpu_keeps_the_pages_of_a_batch_for_the_next(trained_run, tmp_path):
    bundle = load_model(trained_run).save(tmp_path / "bundle")
    usual = faults_of_later_tensors("")
    assert faults_of_later_tensors(LOAD, str(trained_run)) * 10 < usual
    assert faults_of_later_tensors(LOAD_BUNDLE, str(bundle)) * 10 < usual


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
