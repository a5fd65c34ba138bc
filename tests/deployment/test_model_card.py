"""A card says what the run recorded, its code runs, and nothing in a name becomes mark-up."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge import load_model
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.graphs.export_model import export_model
from metricforge.deployment.markdown import as_code, as_text
from metricforge.deployment.model_description import ModelDescription
from metricforge.evaluation import read_scores
from metricforge.models import MetricLearner


def code_blocks(card: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The working folder, with the two photos that the examples name."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    for name in ("photo.jpg", "other.jpg"):
        Image.fromarray(draws.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(name)
    return tmp_path


def timm_model(backbone=None, size=40, similarity="CosineSimilarity", **head) -> EmbeddingModel:
    torch.manual_seed(0)
    resnet = dict(type="TimmBackbone", name="resnet10t", frozen_batch_norm=head.pop("frozen", False))
    parts = dict(
        backbone=backbone or resnet,
        head=dict(type="EmbeddingHead", **head),
        similarity=dict(type=similarity),
    )
    steps = (dict(type="Resize", size=48, interpolation="bicubic"), dict(type="CenterCrop", size=(size, size)))
    learner = MetricLearner.from_config(parts, None)
    return EmbeddingModel(learner, ModelDescription(parts, steps), torch.device("cpu"), "here")


def test_the_card_has_the_scores_of_the_run_with_intervals_and_how_they_were_measured(trained_run, tmp_path):
    load_model(trained_run, device="cpu").save(tmp_path / "shoes")
    card = (tmp_path / "shoes" / "README.md").read_text()
    scores, protocol = read_scores(trained_run / "scores.json")
    row = re.search(r"\| recall@1 \| ([0-9.]+) \| ([0-9.]+) to ([0-9.]+) \|", card)
    value, lower, upper = (float(each) for each in row.groups())
    assert value == pytest.approx(scores["recall@1"], abs=1e-4)
    assert lower <= value <= upper
    assert protocol["dataset"]["fingerprint"] in card
    assert "24 queries search 24 images of 4 classes" in card
    assert "The test classes chose these weights" in card
    assert "The test classes were looked at 2 times." in card
    assert "random weights, no pretraining" in card
    assert str(trained_run.parent) not in card + (tmp_path / "shoes" / "model.json").read_text()


def test_a_layer_on_the_network_before_training_is_told_as_that(tmp_path):
    own = timm_model(dim=8)
    choice = {"weights": "pretrained", "layer": "linear layer on the feature", "by": "validation classes", "score": "x"}
    made = EmbeddingModel(own.learner, own.description, own.device, "here", {"choice": choice, "epoch": 0})
    told = "by x on validation classes, among ?; the backbone is as before the first epoch."
    assert (
        f"The linear layer on the feature (weights: pretrained), {told}"
        in (made.save(tmp_path / "shoes") / "README.md").read_text()
    )


def test_the_card_names_the_plug_ins_that_loading_takes(tmp_path):
    own = timm_model(dim=8)
    recorded = {"plugins": {"NormSoftmaxLoss": "metricforge-normsoftmax 0.1.0"}}
    with_loss = replace(
        own.description, architecture={**own.description.architecture, "loss": [dict(type="NormSoftmaxLoss")]}
    )
    models = [
        EmbeddingModel(own.learner, description, own.device, "here", recorded)
        for description in (own.description, with_loss)  # that a readout may have left out
    ]
    cards = [(model.save(tmp_path / str(number)) / "README.md").read_text() for number, model in enumerate(models)]
    assert "\nWith MetricForge:\n" in cards[0]
    assert "\nWith MetricForge and its plug-ins (`pip install metricforge-normsoftmax`):\n" in cards[1]


def test_scores_of_other_weights_are_not_shown(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    text = (tmp_path / "run" / "scores.json").read_text()
    (tmp_path / "run" / "scores.json").write_text(re.sub(r'"sha256": "\w+"', '"sha256": "0"', text))
    load_model(tmp_path / "run", device="cpu").save(tmp_path / "bundle")
    assert "Not known: no evaluation of these weights" in (tmp_path / "bundle" / "README.md").read_text()


def test_a_bundle_of_a_bundle_keeps_what_is_known(trained_run, tmp_path):
    load_model(trained_run, device="cpu").save(tmp_path / "a" / "shoes")
    load_model(tmp_path / "a" / "shoes", device="cpu").save(tmp_path / "b" / "shoes")
    assert (tmp_path / "a/shoes/README.md").read_text() == (tmp_path / "b/shoes/README.md").read_text()


def test_the_lines_of_metricforge_run(trained_run, photos):
    load_model(trained_run, device="cpu").save("my shoes'")
    (code,) = code_blocks((photos / "my shoes'" / "README.md").read_text())
    names = {}
    exec(code, names)
    assert names["embeddings"].shape == (2, 8)
    assert len(code.splitlines()) <= 5


@pytest.mark.parametrize(
    "head",
    [
        dict(dim=8),
        dict(dim=8, layer_norm=True, bias=True),
        dict(l2_normalize=False),
        dict(dim=8, frozen=True),
    ],
    ids=str,
)
def test_the_lines_of_timm_give_the_same_embedding(photos, head):
    model = timm_model(**head)
    model.save("shoes")
    _, code = code_blocks((photos / "shoes" / "README.md").read_text())
    assert "metricforge" not in code
    names = {}
    exec(code, names)
    assert np.abs(names["embedding"].numpy() - model.embed("photo.jpg")).max() < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        dict(global_pool="cls", img_size=48),
        dict(global_pool="avg", img_size=48, drop_path_rate=0.1, tokens=False),
    ],
    ids=str,
)
def test_the_lines_of_timm_name_the_options_of_a_transformer_as_timm_does(photos, options):
    model = timm_model(dim=8, backbone=dict(type="TimmBackbone", name="test_vit", **options), size=48)
    model.save("shoes")
    _, code = code_blocks((photos / "shoes" / "README.md").read_text())
    names = {}
    exec(code, names)
    assert np.abs(names["embedding"].numpy() - model.embed("photo.jpg")).max() < 1e-5


def test_the_lines_of_timm_say_that_they_lack_a_learned_similarity(photos):
    pytest.importorskip("metricforge_pddm")
    for similarity, told in (("PDDM", " (the embedding, but not `PDDM`, a similarity that was learned)"), (None, "")):
        timm_model(dim=8, similarity=similarity or "CosineSimilarity").save(similarity or "plain")
        card = (photos / (similarity or "plain") / "README.md").read_text()
        assert f"With timm, torchvision and safetensors alone{told}:\n" in card


@pytest.mark.parametrize("pooling", ["gem", "attention"])
def test_a_pooling_that_timm_lacks_has_no_lines_of_timm(photos, pooling):
    backbone = dict(type="TimmBackbone", name="test_resnet", global_pool=pooling)
    timm_model(dim=8, backbone=backbone).save("shoes")
    card = (photos / "shoes" / "README.md").read_text()
    assert len(code_blocks(card)) == 1
    assert "It has parts that timm does not" in card


@pytest.mark.parametrize("head", [dict(l2_normalize=False), dict(dim=3, layer_norm=True, bias=True)], ids=str)
def test_a_card_of_vectors_speaks_of_vectors_and_its_lines_run(tmp_path, monkeypatch, head):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    parts = dict(
        backbone=dict(type="IdentityBackbone", feature_dim=5),
        head=dict(type="EmbeddingHead", **head),
        similarity=dict(type="CosineSimilarity"),
    )
    record = {"choice": {"weights": "vectors", "layer": "pooled feature", "by": "validation classes"}, "epoch": 0}
    device = torch.device("cpu")
    model = EmbeddingModel(MetricLearner.from_config(parts, None), ModelDescription(parts, ()), device, "here", record)
    model.save("shoes")
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.savez("vectors.npz", embeddings=rows)
    card = (tmp_path / "shoes" / "README.md").read_text()
    ours, plain = code_blocks(card)
    names = {}
    exec(ours, names)
    np.testing.assert_array_equal(names["embeddings"], model.embed(rows))
    exec(plain, names)
    np.testing.assert_allclose(names["embedding"], model.embed(rows), atol=1e-6)
    assert "metricforge" not in plain
    assert "Maps vectors of 5 numbers" in card
    assert "The vectors as they are." in card
    told = re.sub(r"```python.*?```", "", card, flags=re.DOTALL).replace("license", "")
    assert re.search(r"image|photo|backbone|pretraining|metricforge export", told, flags=re.IGNORECASE) is None


def test_the_lines_of_onnx_runtime_give_the_same_embedding(photos, image_folder):
    pytest.importorskip("onnxruntime", reason="needs metricforge[onnx]")
    model = timm_model(dim=8)
    export_model(model, "shoes", format="onnx", with_preprocessing=True, images=str(image_folder))
    code = code_blocks((photos / "shoes" / "README.md").read_text())[-1]
    names = {}
    exec(code, names)
    assert np.abs(names["embedding"] - model.embed("photo.jpg")).max() < 0.02


def test_the_licence_is_a_field_of_the_card(photos):
    export_model(timm_model(dim=8), "shoes", licence="apache-2.0")
    card = (photos / "shoes" / "README.md").read_text()
    assert card.startswith("---\n")
    assert '\nlicense: "apache-2.0"\n' in card.split("---")[1]
    assert "These weights: apache-2.0" in card


NASTY = "<script>alert(1)</script> **b** [x](http://y) `c`\n# top | cell"


def test_a_name_with_mark_up_is_text():
    text = as_text(NASTY)
    assert "<" not in text.replace("&lt;", "")
    assert "\n" not in text
    assert all(re.search(rf"(?<!\\)\{sign}", text) is None for sign in "*[]`|")
    assert as_text("recall@1, 2.5 (x-y)") == "recall@1, 2.5 (x-y)"


def test_a_code_span_ends_where_it_should():
    assert as_code("a") == "`a`"
    assert as_code("a`b``c\nd") == "```a`b``c d```"


def test_names_from_outside_do_not_change_the_page(photos):
    model = timm_model(dim=8)
    model._record = {
        "epoch": NASTY,
        "choice": {"weights": NASTY, "by": NASTY, "score": NASTY},
        "training": {"dataset": NASTY, "fingerprint": NASTY, "loss": NASTY},
        "evaluation": {
            "scores": {NASTY: 0.5},
            "intervals": {},
            "level": 0.95,
            "protocol": {"dataset": {"name": NASTY}},
        },
    }
    model.save("<img src=x> ```")
    card = (photos / "<img src=x> ```" / "README.md").read_text()
    outside = re.sub(r"^```python\n.*?^```$", "", card, flags=re.DOTALL | re.MULTILINE)
    spans = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"\\`", "", outside))
    assert "<script" not in spans
    assert "<img" not in spans
    assert [line for line in card.splitlines() if line.startswith("# ")] == ["# &lt;img src=x&gt; \\`\\`\\`"]
    assert len(code_blocks(card)) == 2
