from __future__ import annotations

import dataclasses
import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from metricforge.bundle_files import seal
from metricforge.deployment import EmbeddingModel, load_model
from metricforge.deployment.bundle import BundledModel, write_bundle
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import CheckpointError, MetricForgeError
from metricforge.models import MetricLearner


@pytest.fixture(scope="module")
def saved(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_model(trained_run, device="cpu").save(tmp_path_factory.mktemp("bundles") / "photos")


def test_a_bundle_gives_the_very_same_embeddings(trained_run, saved, image_folder):
    photos = sorted(image_folder.rglob("*.png"))
    model, again = load_model(trained_run, device="cpu"), load_model(saved, device="cpu")
    assert np.array_equal(model.embed(photos), again.embed(photos))
    assert model.hash == again.hash
    assert again.description.class_names == ("class_0", "class_1", "class_2", "class_3")


def test_a_bundle_of_a_bundle_is_the_same(saved, tmp_path):
    again = load_model(saved, device="cpu").save(tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "backbone",
    [
        dict(name="test_resnet", global_pool="gem"),
        dict(name="test_resnet", global_pool="attention", in_chans=1),
        dict(name="test_vit", global_pool="gem", img_size=32),
        dict(name="test_vit", global_pool="cls", img_size=32),
    ],
    ids=str,
)
def test_a_bundle_gives_the_very_same_embeddings_whatever_the_pooling(backbone, tmp_path):
    parts = dict(
        backbone=dict(type="TimmBackbone", **backbone),
        head=dict(type="EmbeddingHead", dim=8),
        similarity=dict(type="CosineSimilarity"),
    )
    model = EmbeddingModel(
        MetricLearner.from_config(parts, None), ModelDescription(parts, ()), torch.device("cpu"), "here"
    )
    photos = list(np.random.default_rng(0).integers(0, 256, size=(3, 32, 32, 3), dtype=np.uint8))
    again = load_model(model.save(tmp_path / "bundle"), device="cpu")
    assert np.array_equal(model.embed(photos), again.embed(photos))


def test_whoever_may_read_the_folder_may_read_its_files(saved):
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o044 for file in saved.iterdir())


def test_nothing_is_written_over(trained_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("precious")
    with pytest.raises(MetricForgeError, match="already exists"):
        load_model(trained_run, device="cpu").save(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_where_no_folder_can_be_is_named(trained_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_model(trained_run, device="cpu")
    with pytest.raises(MetricForgeError, match="the folder that you are in"):
        model.save(".")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(MetricForgeError, match="no folder can be made here"):
        model.save("file/new")
    assert (tmp_path / "file").read_text() == "precious"


def test_no_changed_byte_passes(saved, tmp_path):
    """Bytes are changed, cut off and added, at random places of both files."""
    draws = np.random.default_rng(0)
    for number in range(60):
        copy = tmp_path / str(number)
        shutil.copytree(saved, copy)
        file = copy / ("model.json", "model.safetensors")[number % 2]
        content = bytearray(file.read_bytes())
        place = int(draws.integers(len(content)))
        match number % 3:
            case 0:
                content[place] ^= 1 << int(draws.integers(8))
            case 1:
                del content[place:]
            case 2:
                content.insert(place, 0x20)
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=str(file.name)):
            load_model(copy, device="cpu")


def test_a_description_that_asks_for_other_sizes_than_the_weights_have_takes_no_memory(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    values = json.loads((copy / "model.json").read_text())
    del values["sha256"]
    values["architecture"]["head"]["dim"] = 10**12  # 64 TB of weights
    (copy / "model.json").write_bytes(seal(values))
    with pytest.raises(CheckpointError, match="do not fit the described architecture"):
        load_model(copy, device="cpu")


def test_weights_are_missed_by_name(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_model(tmp_path / "copy")


def test_a_file_of_python_objects_is_no_bundle(tmp_path):
    torch.save({"a": Path()}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="refused, because it holds a Python object"):
        load_model(tmp_path / "model.pth")


def test_a_value_that_does_not_fit_into_json_is_named_and_nothing_is_written(trained_run, tmp_path):
    model = load_model(trained_run, device="cpu")
    head = dict(model.description.architecture["head"], sizes={3, 4})
    architecture = dict(model.description.architecture, head=head)
    model.description = dataclasses.replace(model.description, architecture=architecture)
    with pytest.raises(MetricForgeError, match=r"architecture\.head\.sizes is \{3, 4\}, a set"):
        write_bundle(BundledModel(model.learner, model.description, {}, "0"), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_description_names_no_file_outside_its_folder(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    (tmp_path / "secret").write_text("x")
    values = json.loads((tmp_path / "copy" / "model.json").read_text())
    del values["sha256"]
    values["weights"]["file"] = "../secret"
    (tmp_path / "copy" / "model.json").write_bytes(seal(values))
    with pytest.raises(CheckpointError, match="names a file outside the bundle"):
        load_model(tmp_path / "copy")


def test_the_card_may_be_edited(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("# Mine")
    assert load_model(tmp_path / "copy").hash == load_model(saved).hash


def test_an_accelerated_model_is_not_saved(trained_run, tmp_path):
    with pytest.raises(MetricForgeError, match="save the model that it was made from"):
        load_model(trained_run, device="cpu").accelerated(precision="bfloat16").save(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
