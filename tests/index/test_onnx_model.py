"""Searching by an ONNX graph: the same neighbours, and no PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.backbones import RawPixels
from metricforge.bundle_files import DESCRIPTION
from metricforge.deployment import EmbeddingModel, load_model
from metricforge.deployment.graphs.export_model import export_model
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import CheckpointError, UnreadableImageError
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex, build_index
from metricforge.index.array_similarity import WITHOUT_WEIGHTS, of_arrays
from metricforge.index.onnx_model import OnnxModel, has_onnx_model
from metricforge.models import MetricLearner
from metricforge.registry import SIMILARITIES
from metricforge.similarities import CosineSimilarity

# what a machine that only searches has not installed
ABSENT = ("torch", "torchvision", "timm", "mmengine", "sklearn", "scipy", "matplotlib", "simplejpeg", "safetensors")
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("name", sorted(WITHOUT_WEIGHTS))
def test_similarities_of_arrays_are_those_of_tensors(name):
    draws = np.random.default_rng(0)
    vectors = draws.standard_normal((50, 16)).astype(np.float32)
    vectors[7] = 0
    of_tensors, without = of_arrays(SIMILARITIES.build(dict(type=name))), WITHOUT_WEIGHTS[name]()
    assert without.search == of_tensors.search
    np.testing.assert_allclose(without.scores(vectors[3], vectors), of_tensors.scores(vectors[3], vectors), atol=2e-5)
    if without.search != "hamming":  # whose signs the structure takes itself
        np.testing.assert_allclose(without.prepare(vectors), of_tensors.prepare(vectors), atol=1e-6)


@pytest.fixture(scope="module")
def onnx_index(photo_folder, tmp_path_factory) -> Path:
    """An index whose model is a bundle with a graph that resizes."""
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    folder = tmp_path_factory.mktemp("onnx")
    described = dict(
        backbone=dict(type="RawPixels", height=4, width=4),
        head=dict(type="EmbeddingHead", l2_normalize=False),
        similarity=dict(type="CosineSimilarity"),
    )
    description = ModelDescription(architecture=described, preprocessing=(dict(type="Resize", size=(4, 4)),))
    parts = RawPixels(height=4, width=4), EmbeddingHead(feature_dim=48, l2_normalize=False), CosineSimilarity()
    model = EmbeddingModel(MetricLearner(*parts), description, torch.device("cpu"), "here")
    export_model(model, folder / "bundle", format="onnx", with_preprocessing=True, images=str(photo_folder))
    return build_index(load_model(folder / "bundle"), open_collection(photo_folder), folder / "index").path


@pytest.mark.slow
def test_an_index_of_a_graph_is_searched_where_pytorch_is_not_installed(onnx_index, photo_folder):
    photos = sorted(map(str, photo_folder.rglob("*.png")))[:5]
    program = f"""{BLOCK}
import json, metricforge
index = metricforge.load_index(sys.argv[1])
found = [[hit.id for hit in hits] for hits in index.search(sys.argv[2:], k=4, filter="id < 60")]
print(json.dumps([found, sorted(set({ABSENT!r}) & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(onnx_index), *photos], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, imported = json.loads(done.stdout)
    model = SearchIndex(onnx_index).model
    by_pytorch = SearchIndex(onnx_index, model).search(photos, k=4, filter="id < 60")
    assert found == [[hit.id for hit in hits] for hits in by_pytorch]
    assert imported == []


@pytest.mark.slow
def test_the_command_searches_without_pytorch_and_says_what_needs_it(onnx_index, photo_folder, tmp_path):
    photo = str(sorted(photo_folder.rglob("*.png"))[3])
    program = f"{BLOCK}from metricforge.__main__ import main\nmain(sys.argv[1:])"

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)

    done = command("search", str(onnx_index), photo, "-k", "2", "--json")
    assert json.loads(done.stdout)["hits"][0]["path"] == photo
    bare = shutil.copytree(onnx_index, tmp_path / "bare")
    (bundle,) = (bare / "models").iterdir()
    shutil.rmtree(bundle)
    SearchIndex(onnx_index).model.save(bundle)  # without the graph
    done = command("search", str(bare), photo)
    assert done.returncode == 1
    assert "torch is not installed, and without PyTorch an index is only searched" in done.stderr
    assert "--format onnx --with-preprocessing" in done.stderr


@pytest.mark.slow
def test_a_graph_embeds_what_the_model_embeds_and_is_verified(onnx_index, photo_folder, tmp_path):
    (bundle,) = (onnx_index / "models").iterdir()
    assert has_onnx_model(bundle)
    graph, model = OnnxModel(bundle), load_model(bundle)
    path = sorted(photo_folder.rglob("*.png"))[0]
    picture = Image.open(path)
    for image in (str(path), path, path.read_bytes(), picture, np.asarray(picture)):
        np.testing.assert_allclose(graph.embed(image), model.embed(image), atol=2 * 2 / 255)
    assert graph.embed([path, picture]).shape == (2, 48)
    assert graph.hash == model.hash
    with pytest.raises(UnreadableImageError, match=r"absent\.png cannot be read as an image"):
        graph.embed("absent.png")
    with pytest.raises(TypeError, match="float64"):
        graph.embed(np.zeros((3, 3)))
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model\.onnx was changed"):
        OnnxModel(damaged)
    assert (damaged / DESCRIPTION).is_file()
