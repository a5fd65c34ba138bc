"""timm's own arguments: taken, checked against the network's signature, and kept by a bundle."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models import save_for_hf

from metricforge.backbones import TimmBackbone
from metricforge.backbones.timm_arguments import timm_arguments
from metricforge.deployment import EmbeddingModel, load_model
from metricforge.deployment.model_description import ModelDescription
from metricforge.deployment.model_loading import _architecture
from metricforge.errors import CheckpointError, ConfigError
from metricforge.models import MetricLearner
from metricforge.registry import BACKBONES

VIT = dict(name="vit_tiny_patch16_224", img_size=32, depth=1)
SWIN = dict(name="swin_tiny_patch4_window7_224", img_size=64, depths=[1, 1, 1, 1])


def build(**arguments):
    return BACKBONES.build(dict(type="TimmBackbone", **arguments), path="model.backbone").eval()


@pytest.fixture
def folder(tmp_path):
    """A network in a folder of timm, made for another image size, mean and crop than its name's."""
    torch.manual_seed(1)
    model = timm.create_model("test_vit", num_classes=5, img_size=96, dynamic_img_size=False)
    model.pretrained_cfg.update(mean=(0.1, 0.2, 0.3), crop_pct=1.0)
    save_for_hf(model, tmp_path / "folder", model_args=dict(img_size=96, dynamic_img_size=False))
    return model.eval(), tmp_path / "folder"


@pytest.mark.parametrize("network", [VIT, SWIN], ids=lambda network: network["name"])
def test_img_size_makes_the_network_and_its_evaluation_for_that_size(network):
    backbone = build(**network)
    side = network["img_size"]
    assert backbone(torch.zeros(2, 3, side, side)).shape == (2, backbone.feature_dim)
    assert backbone.input_size == (side, side)
    assert backbone.evaluation_transform[-1] == dict(type="CenterCrop", size=side)


def test_drop_path_rate_reaches_the_blocks():
    rates = [block.drop_path1.drop_prob for block in build(**VIT | dict(depth=2), drop_path_rate=0.2).model.blocks[1:]]
    assert rates == pytest.approx([0.2])


def test_a_grey_network_of_the_colour_network_s_weights_sees_grey_pictures_alike(tmp_path):
    colour = TimmBackbone("test_vit").eval()
    torch.save(colour.model.state_dict(), tmp_path / "w.pth")
    grey = TimmBackbone("test_vit", weights=tmp_path / "w.pth", in_chans=1).eval()
    pictures = torch.randn(2, 1, 160, 160).expand(2, 3, 160, 160)
    assert torch.allclose(grey(pictures), colour(pictures), atol=1e-4)


def test_weights_of_a_file_are_resampled_to_img_size_as_timm_does(tmp_path):
    source = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    backbone = build(**VIT, weights=str(tmp_path / "w.pth"))
    grid = source.pos_embed[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (2, 2), mode="bicubic", antialias=True)
    assert torch.allclose(backbone.model.pos_embed[:, 1:], expected.permute(0, 2, 3, 1).flatten(1, 2), atol=1e-5)
    assert torch.equal(backbone.model.pos_embed[:, :1], source.pos_embed[:, :1])


def test_pooling_that_widens_the_features_is_counted():
    backbone = build(name="test_resnet", global_pool="catavgmax")
    assert backbone(torch.zeros(2, 3, 64, 64)).shape == (2, backbone.feature_dim)
    assert backbone.feature_dim == 2 * build(name="test_resnet").feature_dim


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (dict(name="test_vit", img_sise=64), r'model\.backbone\.img_sise: .*did you mean "img_size"'),
        (dict(name="test_vit", drop_path=0.1), r'model\.backbone\.drop_path: .*did you mean "drop_path_rate"'),
        (dict(name="test_resnet", img_size=64), "img_size: timm's test_resnet has no such argument"),
        (dict(name="test_resnet", num_classes=3), r"model\.backbone\.num_classes: .*no such argument"),
        (dict(name="test_resnet", in_chans=4), "in_chans must be 3, or 1 for grey pictures, got 4"),
        (dict(name="test_resnet", global_pool=""), r"leaves test_resnet's features unpooled, \(\d+, 5, 5\)"),
        (dict(name="test_vit", img_size=[64]), r"img_size must be a side in pixels or \(height, width\), got \[64\]"),
        (dict(name="test_vit", drop_rate=1.5), "drop_rate must be at least 0 and below 1, got 1.5"),
        (dict(name="test_resnet", global_pool="avgg"), "cannot be built with global_pool='avgg'"),
        (dict(name="timm/resnet18"), "'timm/resnet18' is neither a model of timm nor begins with 'hf-hub:'"),
        (dict(name="local-dir:nowhere"), r"there is no nowhere.config\.json"),
    ],
    ids=str,
)
def test_what_the_network_does_not_take_is_refused(arguments, told):
    with pytest.raises(ConfigError, match=told):
        build(**arguments)


def test_the_parts_of_a_network_s_own_config_are_arguments_and_the_classifier_is_none():
    assert "stem_chs" in timm_arguments("test_byobnet")
    assert {"num_classes", "device"}.isdisjoint(timm_arguments("test_resnet"))


def test_a_folder_gives_its_network_with_its_weights(folder):
    source, place = folder
    backbone = build(name=f"local-dir:{place}", pretrained=True)
    images = torch.randn(2, 3, 96, 96)
    expected = source.forward_head(source.forward_features(images), pre_logits=True)
    assert torch.allclose(backbone(images), expected, atol=1e-6)
    assert (backbone.mean, backbone.input_size) == ((0.1, 0.2, 0.3), (96, 96))
    with pytest.raises(ConfigError, match=r'img_sise: .*did you mean "img_size"'):
        build(name=f"local-dir:{place}", img_sise=64)


def test_a_damaged_config_of_a_folder_is_named(folder):
    (folder[1] / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json is not a config\.json of timm \(JSONDecodeError"):
        build(name=f"local-dir:{folder[1]}")


def test_a_hub_that_cannot_be_reached_says_the_way_out(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm.models._factory, "load_model_config_from_hf", offline)
    with pytest.raises(CheckpointError, match=r"hf-hub:timm/some cannot be read from the hub .*local-dir:FOLDER"):
        TimmBackbone("hf-hub:timm/some")


@pytest.mark.parametrize("network", ["vit", "grey", "folder"])
def test_a_bundle_keeps_the_arguments_and_needs_no_folder(network, folder, tmp_path):
    chosen = {
        "vit": VIT | dict(drop_path_rate=0.1),
        "grey": dict(name="test_resnet", in_chans=1),
        "folder": dict(name=f"local-dir:{folder[1]}", pretrained=True),
    }[network]
    parts = dict(
        backbone=dict(type="TimmBackbone", **chosen),
        head=dict(type="EmbeddingHead", dim=8),
        similarity=dict(type="CosineSimilarity"),
    )
    learner = MetricLearner.from_config(parts, None)
    description = ModelDescription(_architecture(parts, learner), ())
    EmbeddingModel(learner, description, torch.device("cpu"), "").save(tmp_path / "bundle")
    folder[1].rename(tmp_path / "moved")
    loaded = load_model(tmp_path / "bundle", device="cpu")
    side = learner.backbone.input_size[0]
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    assert torch.equal(loaded.learner.embed(images), learner.embed(images))
    assert loaded.learner.backbone.input_size == learner.backbone.input_size
