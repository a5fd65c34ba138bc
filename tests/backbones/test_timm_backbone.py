from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torchvision.transforms import v2

from metricforge.backbones import TimmBackbone
from metricforge.backbones.timm_backbone import _evaluation_transform
from metricforge.errors import CheckpointError, ConfigError
from metricforge.registry import BACKBONES, TRANSFORMS


@pytest.fixture
def source():
    """A tiny network with its classifier, whose weights a file holds."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=7).eval()


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        "test_vit",
        "test_convnext",
        "test_mambaout",
        "test_nfnet",
        "test_byobnet",
        "mobilenetv3_small_050",
    ],
)
def test_feature_dim_is_what_comes_out(name):
    backbone = TimmBackbone(name).eval()
    height, width = timm.get_pretrained_cfg(name).input_size[1:]
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, height, width))
    assert features.shape == (2, backbone.feature_dim)


def test_mean_and_std_are_those_of_the_weights():
    backbone = TimmBackbone("test_resnet")
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert (backbone.mean, backbone.std) == (cfg.mean, cfg.std)


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0", "test_vit", "mobilenetv3_small_050"])
def test_test_images_are_resized_and_cropped_as_timm_does(name):
    cfg = timm.get_pretrained_cfg(name)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    picture = picture.resize((640, 420), Image.Resampling.BICUBIC)
    as_timm = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict()))
    expected = torch.from_numpy(np.array(timm_steps(as_timm, picture))).permute(2, 0, 1)
    seen = v2.functional.pil_to_tensor(picture)
    for step in TimmBackbone(name).evaluation_transform:
        seen = TRANSFORMS.build(step)(seen)
    assert seen.shape == expected.shape
    assert (seen.int() - expected.int()).abs().max() <= 2, "torchvision rounds otherwise than Pillow"


def timm_steps(composed, picture):
    for step in composed.transforms[:2]:  # then a tensor is made of it, and normalised
        picture = step(picture)
    return picture


def test_what_timm_pads_or_is_not_square_has_to_be_told():
    data = dict(input_size=(3, 224, 224), crop_pct=0.9, crop_mode="border", interpolation="bicubic")
    assert _evaluation_transform(data) == []
    assert _evaluation_transform(data | dict(crop_mode="center", input_size=(3, 224, 448))) == []
    assert _evaluation_transform(data | dict(crop_mode="squash", interpolation="bilinear")) == [
        dict(type="Resize", size=(248, 248), interpolation="bilinear"),
        dict(type="CenterCrop", size=224),
    ]


@pytest.mark.parametrize("layout", ["pth", "safetensors", "checkpoint", "parallel", "without classifier"])
def test_weights_from_a_local_file_give_the_features_of_the_network_they_came_from(source, layout, tmp_path):
    state = source.state_dict()
    file = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pth")
    if layout == "safetensors":
        safetensors.torch.save_file(state, file)
    elif layout == "checkpoint":
        torch.save({"state_dict": state, "epoch": 3}, file)
    elif layout == "parallel":
        torch.save({f"module.{k}": v for k, v in state.items()}, file)
    elif layout == "without classifier":
        torch.save({k: v for k, v in state.items() if not k.startswith("fc.")}, file)
    else:
        torch.save(state, file)
    backbone = TimmBackbone("test_resnet", weights=str(file)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = source.forward_head(source.forward_features(images), pre_logits=True)
        assert torch.allclose(backbone(images), expected, atol=1e-6)


def test_a_local_file_replaces_the_download(source, tmp_path, monkeypatch):
    monkeypatch.setattr(timm.models._builder, "load_pretrained", lambda *a, **k: pytest.fail("downloaded"))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    backbone = TimmBackbone("test_resnet", pretrained=True, weights=tmp_path / "w.pth")
    assert torch.equal(
        backbone.model.state_dict()["layer1.0.conv1.weight"], source.state_dict()["layer1.0.conv1.weight"]
    )


def test_an_unknown_name_brings_the_nearest_names():
    with pytest.raises(ConfigError, match=r"no model 'test_resent'; did you mean test_resnet"):
        BACKBONES.build(dict(type="TimmBackbone", name="test_resent"))


def test_an_absent_weights_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        TimmBackbone("test_resnet", weights=tmp_path / "nowhere.pth")


def test_weights_of_another_network_are_refused_rather_than_half_loaded(tmp_path):
    other = timm.create_model("test_efficientnet", num_classes=0)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"is of another network than ResNet .* It lacks \d+: .*no use for"):
        TimmBackbone("test_resnet", weights=tmp_path / "w.pth")


def test_weights_with_one_layer_missing_are_refused(source, tmp_path):
    state = source.state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"It lacks 1: layer1\.0\.conv1\.weight$"):
        TimmBackbone("test_resnet", weights=tmp_path / "w.pth")


def test_a_truncated_file_is_refused(source, tmp_path):
    file = tmp_path / "w.pth"
    torch.save(source.state_dict(), file)
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        TimmBackbone("test_resnet", weights=file)


class Harmful:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (self.marker,))


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"state_dict": Harmful(str(marker))}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="cannot be read as a dict of tensors"):
        TimmBackbone("test_resnet", weights=tmp_path / "w.pth")
    assert not marker.exists()


def test_a_failed_download_says_the_way_out(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", offline)
    with pytest.raises(
        CheckpointError, match=r"test_resnet cannot be downloaded \(ConnectionError: no route .*weights=FILE"
    ):
        TimmBackbone("test_resnet", pretrained=True)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])  # BatchNorm2d; BatchNormAct2d
def test_frozen_batch_norm_does_not_move_in_training_and_has_no_parameters(name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, frozen_batch_norm=True).train()
    trainable = {n for n, p in backbone.named_parameters() if p.requires_grad}
    before = {n: v.clone() for n, v in backbone.state_dict().items() if n not in trainable}
    assert any(n.endswith("running_mean") for n in before)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1, weight_decay=0.1)
    backbone(torch.randn(4, 3, 64, 64) * 5 + 3).sum().backward()
    optimizer.step()
    after = backbone.state_dict()
    assert all(torch.equal(after[n], v) for n, v in before.items())
    assert not any("bn" in n for n in trainable)


def test_frozen_batch_norm_computes_what_batch_norm_does_in_eval_mode(source, tmp_path):
    torch.save(source.state_dict(), tmp_path / "w.pth")
    thawed = TimmBackbone("test_resnet", weights=tmp_path / "w.pth").eval()
    frozen = TimmBackbone("test_resnet", weights=tmp_path / "w.pth", frozen_batch_norm=True).train()
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(frozen(images), thawed(images), atol=1e-5)


def test_a_batch_norm_that_cannot_be_frozen_is_named():
    with pytest.raises(ValueError, match=r"cannot freeze \d+ BatchNorm layers that are not 2-d"):
        TimmBackbone("levit_128s", frozen_batch_norm=True)
