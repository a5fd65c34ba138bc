"""The hub's own client reads what a bundle is, from a cache that lies on the disk: no network is asked."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from metricforge import EmbeddingModel, load_model
from metricforge.deployment.graphs.export_model import export_model
from metricforge.errors import CheckpointError, MetricForgeError

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs metricforge[hub]")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, empty, without a network behind it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return folder


def put(files, repository, cache):
    """Lay ``files`` where the hub's client has what it downloaded."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(files, place / "snapshots" / COMMIT)


def test_a_folder_and_a_repository_give_the_same_model(trained_run, image_folder, tmp_path, cache):
    model = load_model(trained_run, device="cpu")
    bundle = model.save(tmp_path / "shoes")
    put(bundle, "someone/shoes", cache)
    photo = next(image_folder.rglob("*.png"))
    for name in (bundle, "someone/shoes"):
        again = EmbeddingModel.from_pretrained(name, device="cpu")
        assert again.hash == model.hash
        assert np.array_equal(again.embed(photo), model.embed(photo))


def test_what_is_pushed_is_a_bundle_in_the_hub_s_layout(trained_run, tmp_path, cache, monkeypatch):
    asked = []

    class Hub:
        def __init__(self, token):
            asked.append(token)

        def create_repo(self, repository, **settings):
            asked.append((repository, settings))
            return f"https://hub/{repository}"

        def upload_folder(self, repo_id, folder_path, **settings):
            put(folder_path, repo_id, cache)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    model = load_model(trained_run, device="cpu")
    assert model.push_to_hub("someone/shoes", private=True, token="t") == "https://hub/someone/shoes"
    assert asked == ["t", ("someone/shoes", {"private": True, "repo_type": "model", "exist_ok": True})]
    files = {path.name for path in (cache / "models--someone--shoes" / "snapshots" / COMMIT).iterdir()}
    assert files == {"README.md", "model.json", "model.safetensors"}
    card = huggingface_hub.ModelCard.load(cache / "models--someone--shoes" / "snapshots" / COMMIT / "README.md")
    assert card.data.library_name == "metricforge"
    assert "\n# shoes\n" in card.text
    assert EmbeddingModel.from_pretrained("someone/shoes", device="cpu").hash == model.hash


def test_the_graphs_of_a_bundle_are_kept_by_whoever_saves_pushes_or_loads_it(trained_run, tmp_path, cache, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs metricforge[onnx]")
    made = export_model(load_model(trained_run, device="cpu"), tmp_path / "shoes", format="onnx").bundle
    put(made, "someone/shoes", cache)
    for number, name in enumerate((made, "someone/shoes")):
        again = EmbeddingModel.from_pretrained(name, device="cpu").save(tmp_path / str(number))
        assert (again / "model.onnx").read_bytes() == (made / "model.onnx").read_bytes()
        assert "Compared with the model on" in (again / "README.md").read_text()
        assert load_model(again, device="cpu").graphs == load_model(made, device="cpu").graphs
    model = load_model(made, device="cpu")
    model.learner.head.linear.weight.add_(1.0)
    assert not load_model(model.save(tmp_path / "other"), device="cpu").graphs, "they are of other weights"
    model = load_model(made, device="cpu")
    (made / "model.onnx").write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="changed or damaged after the export"):
        model.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_not_there_or_no_bundle_is_told(trained_run, tmp_path, cache):
    with pytest.raises(
        CheckpointError, match="someone/absent is not a folder, and could not be downloaded from the hub"
    ):
        EmbeddingModel.from_pretrained("someone/absent")
    with pytest.raises(CheckpointError, match=r"is not a bundle: it has no model\.json"):
        EmbeddingModel.from_pretrained(trained_run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("# other")
    put(tmp_path / "other", "someone/other", cache)
    with pytest.raises(CheckpointError, match="the repository is not a bundle"):
        EmbeddingModel.from_pretrained("someone/other")


def test_a_hub_that_refuses_is_told(trained_run, cache):
    with pytest.raises(MetricForgeError, match=r"could not be pushed to the hub \(.*hf auth login"):
        load_model(trained_run, device="cpu").push_to_hub("someone/shoes", token="wrong")


def test_the_missing_extra_is_named(trained_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MetricForgeError, match=r'pip install "metricforge\[hub\]"'):
        EmbeddingModel.from_pretrained("someone/shoes")
