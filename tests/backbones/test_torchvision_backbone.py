from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
import torchvision

from metricforge.backbones import TorchvisionBackbone
from metricforge.errors import CheckpointError, ConfigError
from metricforge.registry import BACKBONES


@pytest.mark.parametrize(
    ("name", "dim", "size"),
    [
        ("googlenet", 1024, 64),
        ("resnet18", 512, 32),
        ("mobilenet_v3_small", 1024, 32),
        ("densenet121", 1024, 32),
        ("shufflenet_v2_x0_5", 1024, 32),
    ],
)
def test_the_features_are_what_the_classifier_saw(name, dim, size):
    backbone = TorchvisionBackbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, size, size))
    assert backbone.feature_dim == dim
    assert features.shape == (2, dim)


def test_googlenet_is_the_default_and_has_no_auxiliary_classifiers():
    backbone = TorchvisionBackbone()
    assert backbone.name == "googlenet"
    assert not any(n.startswith(("model.aux", "model.fc")) for n, _ in backbone.named_parameters())


def test_googlenet_with_mean_and_std_0_5_equals_torchvisions_own_on_imagenets(tmp_path):
    torch.manual_seed(0)
    own = torchvision.models.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False).eval()
    torch.save(own.state_dict(), tmp_path / "googlenet.pth")  # as downloaded: with auxiliary and last classifier
    backbone = TorchvisionBackbone("googlenet", weights=tmp_path / "googlenet.pth").eval()

    def normalized(images, mean, std):
        return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = own(normalized(pictures, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        features = backbone(normalized(pictures, backbone.mean, backbone.std))
    assert torch.allclose(own.fc(features), expected, atol=1e-4)


def test_other_networks_have_imagenets_mean_and_std():
    backbone = TorchvisionBackbone("resnet18")
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.std == (0.229, 0.224, 0.225)


def test_weights_of_another_number_of_classes_load_from_a_local_file(tmp_path):
    own = torchvision.models.resnet18(num_classes=5).eval()
    torch.save(own.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="another network"):
        TorchvisionBackbone("resnet34", weights=tmp_path / "w.pth")
    backbone = TorchvisionBackbone("resnet18", weights=tmp_path / "w.pth").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(own.fc(backbone(images)), own(images), atol=1e-5)


class Ones(torch.nn.Module):
    def forward(self, images):
        return torch.ones(len(images), 1024)


def test_only_the_asked_for_dropout_acts():
    images = torch.randn(2, 3, 64, 64)
    backbone = TorchvisionBackbone("googlenet", frozen_batch_norm=True).train()
    assert torch.equal(backbone(images), backbone(images))
    backbone = TorchvisionBackbone("googlenet", dropout=0.4).train()
    backbone.model = Ones()
    assert 0.3 < (backbone(images) == 0).float().mean() < 0.5
    assert (backbone.eval()(images) == 1).all()


def test_frozen_batch_norm_does_not_move_in_training():
    backbone = TorchvisionBackbone("resnet18", frozen_batch_norm=True).train()
    before = {n: v.clone() for n, v in backbone.state_dict().items() if "running" in n}
    backbone(torch.randn(4, 3, 32, 32) * 5 + 3)
    after = backbone.state_dict()
    assert len(before) == 40
    assert all(torch.equal(after[n], v) for n, v in before.items())
    assert not any("bn" in n for n, _ in backbone.named_parameters())


def test_an_unknown_name_brings_the_nearest_names():
    with pytest.raises(ConfigError, match=r"no classification model 'googlenett'; did you mean googlenet"):
        BACKBONES.build(dict(type="TorchvisionBackbone", name="googlenett"))


def test_a_network_that_does_not_end_in_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="squeezenet1_0 ends in AdaptiveAvgPool2d"):
        TorchvisionBackbone("squeezenet1_0")


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_outside_0_to_1_is_refused(dropout):
    with pytest.raises(ValueError, match=f"dropout must be at least 0 and below 1, got {dropout}"):
        TorchvisionBackbone(dropout=dropout)


def test_a_failed_download_says_the_way_out(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(
        CheckpointError, match=r"IMAGENET1K_V1 of googlenet cannot be downloaded .*no route to host.*weights=FILE"
    ):
        TorchvisionBackbone("googlenet", pretrained=True)


def test_downloaded_weights_are_the_ones_used(monkeypatch):
    own = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *a, **k: own.state_dict())
    backbone = TorchvisionBackbone("googlenet", pretrained=True)
    assert torch.equal(backbone.model.state_dict()["conv1.conv.weight"], own.state_dict()["conv1.conv.weight"])
    assert not backbone.model.transform_input


def test_weights_are_downloaded_by_name(monkeypatch):
    own = torchvision.models.resnet50(weights=None)
    fetched = []

    def fetch(url, *args, **kwargs):
        fetched.append(url.rpartition("/")[2])
        return own.state_dict()

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fetch)
    for options in (dict(weights="IMAGENET1K_V1"), dict(weights="IMAGENET1K_V1", pretrained=True)):
        backbone = TorchvisionBackbone("resnet50", **options)
        assert torch.equal(backbone.model.state_dict()["conv1.weight"], own.state_dict()["conv1.weight"])
    TorchvisionBackbone("resnet50", pretrained=True)
    # torchvision's files by the hash of their content: 0676ba61 is the original ResNet-50's, of top-1 76.1
    assert fetched == ["resnet50-0676ba61.pth", "resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth"]


def test_unknown_weights_are_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"no weights called 'IMAGENET1K_V3'.*IMAGENET1K_V1, IMAGENET1K_V2, or give"):
        BACKBONES.build(dict(type="TorchvisionBackbone", name="resnet50", weights="IMAGENET1K_V3"))


def test_a_file_that_is_called_like_weights_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = torchvision.models.resnet18(weights=None)
    torch.save(own.state_dict(), "IMAGENET1K_V1")
    backbone = TorchvisionBackbone("resnet18", weights="IMAGENET1K_V1")
    assert torch.equal(backbone.model.state_dict()["conv1.weight"], own.state_dict()["conv1.weight"])
