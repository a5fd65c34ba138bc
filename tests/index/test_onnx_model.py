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
ABSENT = (
    *("torch", "torchvision", "timm", "mmengine", "sklearn", "scipy", "matplotlib", "simplejpeg", "safetensors"),
    *("gdown", "imagehash", "platformdirs", "yaml", "requests", "threadpoolctl"),
)
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


def model_that_resizes() -> EmbeddingModel:
    described = dict(
        backbone=dict(type="RawPixels", height=4, width=4),
        head=dict(type="EmbeddingHead", l2_normalize=False),
        similarity=dict(type="CosineSimilarity"),
    )
    description = ModelDescription(architecture=described, preprocessing=(dict(type="Resize", size=(4, 4)),))
    parts = RawPixels(height=4, width=4), EmbeddingHead(feature_dim=48, l2_normalize=False), CosineSimilarity()
    return EmbeddingModel(MetricLearner(*parts), description, torch.device("cpu"), "here")


@pytest.fixture(scope="module")
def onnx_index(photo_folder, tmp_path_factory) -> Path:
    """An index whose model is a bundle with a graph that resizes."""
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    folder = tmp_path_factory.mktemp("onnx")
    model = model_that_resizes()
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
    model_that_resizes().save(bundle)  # without the graph
    done = command("search", str(bare), photo)
    assert done.returncode == 1
    assert "torch is not installed. Without PyTorch, images can only be searched with" in done.stderr
    assert "--format onnx --with-preprocessing" in done.stderr
    for words in (["embed", str(bundle)], ["index", str(bundle)], ["index", "migrate", str(onnx_index)]):
        done = command(*words, str(photo_folder), *(["--out", str(tmp_path / "out")] if "migrate" not in words else []))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: this command needs "), done.stderr
        assert "which is not installed; without PyTorch, an index can be searched" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_it_is_served_without_pytorch_and_answers_as_the_model_does(onnx_index, photo_folder, tmp_path):
    photo = sorted(photo_folder.rglob("*.png"))[3]
    program = f"""{BLOCK}
import json
from fastapi.testclient import TestClient
from metricforge.index import load_index
from metricforge.server.app import create_app
with TestClient(create_app(load_index(sys.argv[1]))) as client:
    def post(path, **given):
        given.setdefault("files", {{"image": open(sys.argv[2], "rb").read()}})
        answer = client.post(path, **given)
        return answer.status_code, answer.json()
    found = [
        post("/search", data={{"k": "4", "filter": "label <> 'class_1'"}}),
        post("/search", data={{"k": "2", "crop": "0,0,0.7,1"}}),
        post("/search", json={{"id": 3, "k": 3}}, files=None),
        post("/embed"),
        post("/classify"),
        post("/search", files={{"image": b"no image"}}),
        (client.get("/images/3").status_code, client.get("/health").json()),
    ]
print(json.dumps([found, sorted(set({ABSENT!r}) & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(onnx_index), str(photo)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers, imported = json.loads(done.stdout)
    assert imported == []
    assert [status for status, _ in answers] == [200, 200, 200, 200, 409, 415, 200]
    index = SearchIndex(onnx_index)
    model, picture = index.model, Image.open(photo)
    expected = [
        index.search(photo, k=4, filter="label <> 'class_1'")[0],
        index.search(picture.crop((0, 0, 2, 3)), k=2)[0],
        index.search_by_id(3, k=3),
    ]
    for (_, answer), hits in zip(answers, expected, strict=False):
        assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in hits]
    np.testing.assert_allclose(answers[3][1]["vectors"], model.embed(photo), atol=2 * 2 / 255)
    assert "PyTorch is not installed" in answers[4][1]["error"]
    assert (answers[6][1]["images"], answers[6][1]["classifies"], answers[6][1]["model"]) == (80, False, model.hash)


def test_what_the_server_cannot_do_without_pytorch_is_said_before_it_listens(built, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef")
    program = f"{BLOCK}from metricforge.__main__ import main\nmain(sys.argv[1:])"

    def command(*words: str) -> str:
        done = subprocess.run([sys.executable, "-c", program, "serve", *words], capture_output=True, text=True)
        assert done.returncode == 1
        return done.stderr

    assert "--token-file lets clients add and remove images, which needs PyTorch" in command(
        str(built), "--token-file", str(tmp_path / "token")
    )
    told = command(str(built))  # its model has no graph
    assert "torch is not installed" in told
    assert "Traceback" not in told


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
    graph._side = 128  # pixels; the weights of resizing such a row would take gigabytes
    with pytest.raises(UnreadableImageError, match=r"images\[0\] cannot be resized: its 10000 x 1 pixels"):
        graph.embed(np.zeros((1, 10000, 3), np.uint8))
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model\.onnx was changed"):
        OnnxModel(damaged)
    assert (damaged / DESCRIPTION).is_file()
