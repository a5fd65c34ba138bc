from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from metricforge import Backbone, load_model
from metricforge.deployment.graphs.export_model import export_model
from metricforge.deployment.graphs.graph_comparison import compare, recall_at_1
from metricforge.errors import CheckpointError, MetricForgeError

RESNET = dict(type="TimmBackbone", name="test_resnet")
GLYPHS = dict(type="GlyphNet", width=8, feature_dim=16)


def assert_equal_in_every_batch(compared, most):
    assert list(compared["largest_difference_by_batch"]) == ["1", "7", "64"]
    assert compared["largest_difference"] < most
    assert compared["recall_at_1"] == compared["recall_at_1_of_model"]


def onnx_session(file):
    return pytest.importorskip("onnxruntime", reason="needs metricforge[onnx]").InferenceSession(str(file))


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="needs metricforge[onnx]")
    return pytest.importorskip("onnx", reason="needs metricforge[onnx]")


def test_onnx_gives_the_model_s_embeddings_in_batches_of_any_size(make_model, onnx, image_folder, tmp_path):
    model = make_model(RESNET)
    done = export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))
    session = onnx_session(tmp_path / "bundle" / "model.onnx")
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    pixels = (images.float() / 255 - torch.tensor(model.learner.backbone.mean).view(3, 1, 1)) / torch.tensor(
        model.learner.backbone.std
    ).view(3, 1, 1)
    for size in (1, 2, 5):
        found = session.run(None, {"pixels": pixels[:size].numpy()})[0]
        assert np.abs(found - model.embed_pixels(list(images[:size]))).max() < 1e-5
    compared = done.graphs["model.onnx"]["compared"]
    assert compared["batches"] == [1, 7, 64]
    assert compared["largest_difference"] < 1e-5
    assert compared["recall_at_1"] == compared["recall_at_1_of_model"]
    assert load_model(tmp_path / "bundle", device="cpu").hash == model.hash


def test_with_preprocessing_photos_of_any_size_go_in(make_model, onnx, image_folder, tmp_path):
    model = make_model(GLYPHS)
    export_model(model, tmp_path / "bundle", format="onnx", with_preprocessing=True, images=str(image_folder))
    session = onnx_session(tmp_path / "bundle" / "model.onnx")
    draws = np.random.default_rng(0)
    for height, width in ((40, 70), (130, 61), (20, 20)):
        photo = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = session.run(None, {"images": np.stack([photo, photo])})[0]
        assert found.shape == (2, 8)
        assert np.abs(found - model.embed(photo)).max() < 0.02


@pytest.mark.parametrize(("format_name", "file"), [("torchscript", "model.pt"), ("torch-export", "model.pt2")])
def test_programs_of_torch_give_the_very_same_embeddings(make_model, image_folder, tmp_path, format_name, file):
    model = make_model(GLYPHS)
    done = export_model(model, tmp_path / "bundle", format=format_name, images=str(image_folder))
    assert done.graphs[file]["compared"]["largest_difference"] < 1e-6
    path = str(tmp_path / "bundle" / file)
    program = torch.jit.load(path) if file.endswith("pt") else torch.export.load(path).module()
    assert program(torch.rand(9, 3, 32, 32)).shape == (9, 8)


@pytest.mark.parametrize("similarity", ["PDDM", "LMDM"])
def test_a_learned_similarity_is_a_second_graph_and_the_first_says_what_it_takes(
    make_model, onnx, image_folder, tmp_path, similarity
):
    model = make_model(GLYPHS, similarity=similarity)
    done = export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))
    assert done.graphs["similarity.onnx"]["compared"]["largest_difference"] < 1e-5
    assert_equal_in_every_batch(done.graphs["model.onnx"]["compared"], 1e-5)  # recall by the second graph's scores
    x, y = np.random.default_rng(0).normal(size=(2, 9, 8)).astype(np.float32)
    session = onnx_session(tmp_path / "bundle" / "similarity.onnx")
    for rows, columns in ((x, y), (x[:1], y), (x, y[:4])):
        found = session.run(None, {"x": rows, "y": columns})[0]
        assert np.abs(found - model.similarity(rows, columns)).max() < 1e-5
    graph = onnx.load(tmp_path / "bundle" / "model.onnx")
    told = {each.key: each.value for each in graph.metadata_props}
    assert told["metricforge_model"] == model.hash
    assert json.loads(told["preprocessing"])[1] == {"type": "CenterCrop", "size": 32}
    assert json.loads(told["mean"]) == [0.5, 0.5, 0.5]
    assert told["preprocessing_inside"] == "false"


def shrunk(make_model, name, **settings):
    """A model whose network is timm's ``name`` with less of everything."""
    model = make_model(RESNET)
    network = timm.create_model(name, num_classes=0, **settings).eval().requires_grad_(False)
    backbone = model.learner.backbone
    backbone.model, backbone.feature_dim = network, network.num_features
    model.learner.head.linear = torch.nn.Linear(network.num_features, 8, bias=False)
    return model


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, depth=1)),
        (
            "swin_tiny_patch4_window7_224",
            dict(img_size=32, window_size=4, depths=(2, 1), num_heads=(2, 2), embed_dim=16),
        ),
    ],
)
def test_transformers_are_exported(make_model, onnx, image_folder, tmp_path, name, settings):
    model = shrunk(make_model, name, **settings)
    done = export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))
    assert_equal_in_every_batch(done.graphs["model.onnx"]["compared"], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "vit_small_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_of_full_size_are_exported(make_model, onnx, image_folder, tmp_path, name):
    steps = [dict(type="Resize", size=256, interpolation="bicubic"), dict(type="CenterCrop", size=224)]
    model = make_model(dict(type="TimmBackbone", name=name), steps)
    done = export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))
    assert_equal_in_every_batch(done.graphs["model.onnx"]["compared"], 1e-4)


def test_a_changed_graph_is_refused(make_model, image_folder, tmp_path):
    export_model(make_model(GLYPHS), tmp_path / "bundle", format="torchscript", images=str(image_folder))
    file = tmp_path / "bundle" / "model.pt"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"model\.pt was changed"):
        load_model(tmp_path / "bundle")


def test_the_run_s_own_test_images_are_compared_on(trained_run, tmp_path):
    done = export_model(load_model(trained_run, device="cpu"), tmp_path / "bundle", format="torchscript")
    assert "test images" in done.source
    assert done.graphs["model.pt"]["compared"]["images"] == 16


def test_where_no_images_are_known_some_are_asked_for(trained_run, tmp_path, make_model):
    bundle = load_model(trained_run, device="cpu").save(tmp_path / "bundle")
    with pytest.raises(MetricForgeError, match=r"is a bundle, which has no images.*--images FOLDER"):
        export_model(load_model(bundle, device="cpu"), tmp_path / "out", format="torchscript")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


class Hopeless(Backbone):
    """A network whose way depends on its numbers."""

    feature_dim = 16

    def forward(self, pixels):
        return pixels.mean(dim=(2, 3)).repeat(1, 6)[:, :16] * (1 if float(pixels.sum()) > 0 else 2)


def test_a_network_that_no_graph_holds_is_told_and_nothing_is_left(make_model, onnx, image_folder, tmp_path):
    model = make_model(GLYPHS)
    hopeless = Hopeless()
    hopeless.mean, hopeless.std = model.learner.backbone.mean, model.learner.backbone.std
    model.learner.backbone = hopeless
    with pytest.raises(MetricForgeError, match=r"cannot hold.*nothing was written.*safetensors always works"):
        export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))
    assert list(tmp_path.iterdir()) == []


class Bessel(Hopeless):
    """A network with an operation that ONNX lacks."""

    def forward(self, pixels):
        return torch.special.bessel_j0(pixels.mean(dim=(2, 3))).repeat(1, 6)[:, :16]


def test_an_operation_that_onnx_lacks_is_named(make_model, onnx, image_folder, tmp_path):
    model = make_model(GLYPHS)
    bessel = Bessel()
    bessel.mean, bessel.std = model.learner.backbone.mean, model.learner.backbone.std
    model.learner.backbone = bessel
    with pytest.raises(MetricForgeError, match=r"the operation [a-z]+.bessel_j0 that ONNX cannot hold"):
        export_model(model, tmp_path / "bundle", format="onnx", images=str(image_folder))


def test_a_missing_extra_is_named_with_its_command(make_model, image_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    pytest.importorskip("onnx", reason="needs metricforge[onnx]")
    with pytest.raises(MetricForgeError, match=r'needs the package onnxscript.*pip install "metricforge\[onnx\]"'):
        export_model(make_model(GLYPHS), tmp_path / "bundle", format="onnx", images=str(image_folder))


def test_preprocessing_goes_inside_onnx_alone(make_model, tmp_path):
    with pytest.raises(MetricForgeError, match="--with-preprocessing needs --format onnx"):
        export_model(make_model(GLYPHS), tmp_path / "bundle", format="torchscript", with_preprocessing=True)


def test_images_to_compare_on_go_with_a_graph_alone(make_model, tmp_path):
    with pytest.raises(MetricForgeError, match="--images photos is for comparing a graph with the model"):
        export_model(make_model(GLYPHS), tmp_path / "bundle", images="photos")
    assert not (tmp_path / "bundle").exists()


def test_what_exists_is_refused_before_anything_is_done(make_model, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").touch()
    with pytest.raises(MetricForgeError, match="already exists"):
        export_model(make_model(GLYPHS), tmp_path / "bundle", format="onnx")


def test_a_graph_that_computes_something_else_is_refused():
    images = [torch.zeros(3, 4, 4, dtype=torch.uint8)] * 3
    ones = np.ones((1, 2), dtype=np.float32)
    with pytest.raises(MetricForgeError, match="does not compute what the model does"):
        compare(
            lambda batch: np.repeat(ones, len(batch), axis=0),
            lambda batch: np.repeat(ones * (1.01 if len(batch) == 64 else 1), len(batch), axis=0),
            images,
            None,
            scores_of_model=lambda x, y: x @ y.T,
            scores_of_graph=lambda x, y: x @ y.T,
        )


def test_not_a_number_is_refused():
    images = [torch.zeros(3, 4, 4, dtype=torch.uint8)]
    with pytest.raises(MetricForgeError, match="differ by up to nan"):
        compare(
            lambda batch: np.ones((len(batch), 2), dtype=np.float32),
            lambda batch: np.full((len(batch), 2), np.nan, dtype=np.float32),
            images,
            None,
            scores_of_model=lambda x, y: x @ y.T,
            scores_of_graph=lambda x, y: x @ y.T,
        )


def test_recall_at_1_by_hand():
    scores = np.array([[9, 2, 1, 0], [2, 9, 3, 0], [1, 3, 9, 0], [0, 1, 0, 9]], dtype=np.float32)
    # nearest others: 0->1 hit, 1->2 miss, 2->1 miss; 3 has no match
    assert recall_at_1(scores, np.array([0, 0, 1, 2])) == pytest.approx(1 / 2)
    assert recall_at_1(scores, np.array([0, 0, 1, 1])) == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("backbone", "format_name", "inside", "preprocessing"),
    [
        (GLYPHS, "torchscript", False, []),
        (GLYPHS, "torch-export", False, []),
        (RESNET, "onnx", False, []),
        (GLYPHS, "onnx", True, [dict(type="Resize", size=28)]),
    ],
)
def test_images_of_other_sizes_than_the_prepared_ones(
    make_model, onnx, tmp_path, backbone, format_name, inside, preprocessing
):
    """Without a crop of one size photos keep theirs; a convolutional network takes them."""
    for number, size in enumerate([(40, 40), (30, 40), (24, 50)]):
        Image.new("RGB", size, (number * 60, 90, 20)).save(tmp_path / f"{number}.png")
    model = make_model(backbone, preprocessing)
    options = dict(format=format_name, with_preprocessing=inside, images=str(tmp_path))
    (graph,) = export_model(model, tmp_path / "bundle", **options).graphs.values()
    assert graph["compared"]["images"] == 3
    assert graph["compared"]["largest_difference"] < (0.05 if inside else 1e-5)
