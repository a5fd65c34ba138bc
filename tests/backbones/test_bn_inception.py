from __future__ import annotations

import pytest
import torch
from torch.nn.functional import unfold

from metricforge.backbones import BNInception
from metricforge.errors import CheckpointError
from metricforge.registry import BACKBONES
from metricforge.testing import check_backbone


@pytest.fixture
def published():
    """A state dict as the published file has it: names, shapes and classifier, with random values."""
    torch.manual_seed(0)
    state = {name: value for name, value in BNInception().state_dict().items() if "num_batches" not in name}
    for name, value in state.items():
        if "_bn." in name:
            state[name] = torch.rand_like(value) + 0.5
    return state | {"last_linear.weight": torch.randn(1000, 1024), "last_linear.bias": torch.randn(1000)}


def inputs_of(backbone, images, *names):
    """What the layers ``names`` are given for ``images``."""
    seen = {}
    for name in names:
        layer = backbone.get_submodule(name)
        layer.register_forward_pre_hook(lambda _, given, name=name: seen.setdefault(name, given[0].clone()))
    with torch.no_grad():
        backbone.eval()(images)
    return [seen[name] for name in names]


def test_it_keeps_the_contract():
    torch.manual_seed(0)
    check_backbone(BNInception())
    check_backbone(BNInception(frozen_batch_norm=True), image_size=17)


def test_it_has_the_published_network_s_parameters_and_names():
    backbone = BNInception()
    sizes = {name: tuple(value.shape) for name, value in backbone.named_parameters()}
    # 11,295,240 with the classifier of 1,000 classes
    assert sum(value.numel() for value in backbone.parameters()) == 11_295_240 - 1000 * 1025
    assert len(sizes) == 69 * 4
    assert sizes["conv1_7x7_s2.weight"] == (64, 3, 7, 7)
    assert sizes["conv1_7x7_s2_bn.bias"] == (64,)
    assert sizes["conv2_3x3_reduce.weight"] == (64, 64, 1, 1)
    assert sizes["inception_3a_1x1_bn.weight"] == (64,)
    assert sizes["inception_4a_3x3_reduce.weight"] == (64, 576, 1, 1)
    assert sizes["inception_4e_double_3x3_2.weight"] == (256, 256, 3, 3)
    assert sizes["inception_5a_pool_proj.bias"] == (128,)
    assert "inception_3c_pool_proj.weight" not in sizes
    assert {(m.eps, m.momentum) for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {(1e-5, 0.1)}


# Figure 5 of the paper, with the sums of its branches where its column of sizes has 576 (4c, 4d) and 1,024 (4e)
STAGES = {
    "conv2_3x3_reduce": (64, 56),
    "inception_3a_3x3_reduce": (192, 28),
    "inception_3b_3x3_reduce": (256, 28),
    "inception_3c_3x3_reduce": (320, 28),
    "inception_4a_3x3_reduce": (576, 14),
    "inception_4b_3x3_reduce": (576, 14),
    "inception_4c_3x3_reduce": (576, 14),
    "inception_4d_3x3_reduce": (608, 14),
    "inception_4e_3x3_reduce": (608, 14),
    "inception_5a_3x3_reduce": (1056, 7),
    "inception_5b_3x3_reduce": (1024, 7),
}


@pytest.mark.parametrize("side", [224, 227])
def test_each_stage_has_the_paper_s_channels_and_size(side):
    seen = inputs_of(BNInception(), torch.randn(1, 3, side, side), *STAGES)
    expected = STAGES | ({"conv2_3x3_reduce": (64, 57)} if side == 227 else {})
    assert [tuple(x.shape) for x in seen] == [(1, channels, size, size) for channels, size in expected.values()]


def test_modules_pool_by_the_mean_but_the_last_by_the_maximum():
    names = [f"inception_{module}_{layer}" for module in ("3a", "5a", "5b") for layer in ("1x1", "pool_proj")]
    given = inputs_of(BNInception(), torch.randn(1, 3, 96, 96), *names)

    def windows(x):  # (B, C, 9, H W), zeros beyond the border
        return unfold(x, 3, padding=1).view(*x.shape[:2], 9, -1)

    for (x, pooled), reduce in zip(
        zip(given[::2], given[1::2], strict=True), (torch.mean, torch.mean, torch.amax), strict=True
    ):
        assert torch.allclose(reduce(windows(x), dim=2).view_as(x), pooled, atol=1e-6)


@pytest.mark.parametrize("side", [64, 80])  # 4e halves 4 and 5 pixels
def test_a_module_that_halves_ends_with_the_maximum_of_what_it_was_given(side):
    x, after = inputs_of(
        BNInception(), torch.randn(1, 3, side, side), "inception_4e_3x3_reduce", "inception_5a_3x3_reduce"
    )
    size = (x.shape[-1] + 1) // 2
    assert after.shape == (1, 192 + 256 + 608, size, size)
    for row in range(size):
        for column in range(size):
            window = x[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            assert torch.equal(after[0, 192 + 256 :, row, column], window.amax(dim=(1, 2)))


@pytest.mark.parametrize("side", [7, 31, 100, 240])
def test_images_of_any_size_have_features(side):
    with torch.no_grad():
        assert BNInception().eval()(torch.randn(1, 3, side, side + 1)).shape == (1, 1024)


def test_red_green_blue_in_0_to_1_become_the_blue_green_red_in_0_to_255_that_the_weights_expect():
    backbone = BNInception()
    pictures = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    (given,) = inputs_of(backbone, (pictures - mean) / std, "conv1_7x7_s2")
    red, green, blue = (255 * pictures).unbind(dim=1)
    assert torch.allclose(given, torch.stack([blue - 104, green - 117, red - 128], dim=1), atol=1e-4)


@pytest.mark.parametrize("layout", ["published", "without classifier", "rows", "old format"])
def test_the_published_file_s_weights_are_the_network_s(published, layout, tmp_path):
    file = tmp_path / "bn_inception.pth"
    state = dict(published)
    if layout == "without classifier":
        state = {name: value for name, value in state.items() if not name.startswith("last_linear.")}
    elif layout == "rows":  # as bn_inception-239d2248.pth
        state = {name: value[None] if "_bn." in name else value for name, value in state.items()}
    torch.save(state, file, _use_new_zipfile_serialization=layout != "old format")
    loaded = BNInception(weights=file).state_dict()
    assert all(
        torch.equal(loaded[name], value) for name, value in published.items() if not name.startswith("last_linear.")
    )
    assert {name for name in loaded if "num_batches" not in name} == published.keys() - {
        "last_linear.weight",
        "last_linear.bias",
    }


def test_a_saved_network_is_a_weights_file_that_gives_the_same_features(published, tmp_path):
    torch.save(published, tmp_path / "published.pth")
    first = BNInception(weights=tmp_path / "published.pth").eval()
    torch.save(first.state_dict(), tmp_path / "saved.pth")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = first(images)
        assert torch.equal(BNInception(weights=str(tmp_path / "saved.pth")).eval()(images), features)
        assert not torch.allclose(BNInception().eval()(images), features, atol=1e-2)


def test_the_gradient_reaches_every_weight_and_unnormalised_pixels_do_not_make_it_explode():
    torch.manual_seed(0)
    backbone = BNInception().train()
    backbone(255 * torch.rand(4, 3, 64, 64) - 117).square().mean().backward()
    norms = {name: float(value.grad.norm()) for name, value in backbone.named_parameters() if "_bn." in name}
    assert all(0 < norm < 10 for norm in norms.values()), norms
    assert float(backbone.conv1_7x7_s2.weight.grad.norm()) > 0


def test_frozen_batch_norm_keeps_the_file_s_values_in_training(published, tmp_path):
    torch.save(published, tmp_path / "w.pth")
    backbone = BNInception(weights=tmp_path / "w.pth", frozen_batch_norm=True).train()
    backbone(torch.randn(4, 3, 32, 32) * 5 + 3)
    state = backbone.state_dict()
    kept = [name for name in published if "_bn." in name]
    assert len(kept) == 69 * 4
    assert all(torch.equal(state[name], published[name]) for name in kept)
    assert not any("_bn." in name for name, _ in backbone.named_parameters())


def test_an_absent_file_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"none\.pth does not exist .*bninception\(\) of the Python package pretr"
    ):
        BACKBONES.build(dict(type="BNInception", weights=str(tmp_path / "none.pth")))


def test_the_weights_of_another_network_are_refused(published, tmp_path):
    torch.save({"fc.weight": torch.randn(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"of another network than BNInception with 483 tensors\. It lacks 414"):
        BNInception(weights=tmp_path / "w.pth")
    torch.save(published | {"inception_4c_pool_proj.weight": torch.randn(96, 576, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"It has another shape of 1: inception_4c_pool_proj\.weight"):
        BNInception(weights=tmp_path / "w.pth")


@pytest.mark.parametrize("size", [0, 5, 21, 150, 1001, 4007, 10_000, 30_000_000])
def test_a_file_in_the_old_format_that_was_cut_off_is_refused(published, size, tmp_path):
    file = tmp_path / "w.pth"
    torch.save(published, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="cannot be read as a dict of tensors"):
        BNInception(weights=file)
