"""Adapters: few weights train, the network's own stay, checkpoints hold the adapter, and merging changes nothing."""

from __future__ import annotations

import sys

import pytest
import timm
import torch

pytest.importorskip("peft")

from metricforge.backbones import TimmBackbone
from metricforge.backbones.adapters.adapter import KINDS, Adapter, build_adapter, hash_of
from metricforge.errors import CheckpointError, ConfigError

SIZE = timm.get_pretrained_cfg("test_vit").input_size[-1]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Files of untrained networks, the place of pretrained ones."""
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("weights")
    for name, seed in (("test_vit", 0), ("test_vit", 1), ("test_resnet", 0)):
        torch.manual_seed(seed)
        torch.save(timm.create_model(name, num_classes=0).state_dict(), FOLDER / f"{name}_{seed}.pth")
    yield FOLDER
    FOLDER = None


def adapted(kind="LoRA", seed=0, name="test_vit", **arguments):
    return TimmBackbone(name, weights=FOLDER / f"{name}_{seed}.pth", adapter=dict(type=kind, **arguments))


def shift(backbone):
    """Moves what trains, as training would: adapters begin as no change."""
    generator = torch.Generator().manual_seed(1)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return backbone.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_begins_as_the_network_itself(kind, images):
    plain = TimmBackbone("test_vit", weights=FOLDER / "test_vit_0.pth").eval()
    with torch.no_grad():
        torch.testing.assert_close(adapted(kind).eval()(images), plain(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_network_is_the_unmerged_one_and_has_timm_s_weights_alone(kind, images):
    backbone = shift(adapted(kind))
    with torch.no_grad():
        before = backbone(images)
        backbone.merge_adapter()
        after = backbone(images)
    plain = TimmBackbone("test_vit", weights=FOLDER / "test_vit_0.pth").eval()
    with torch.no_grad():
        assert float((before - plain(images)).abs().max()) > 1e-3, "the shift does something"
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    assert list(backbone.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(backbone.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_holds_the_adapter_and_the_hash_of_what_it_adapts(kind, images):
    backbone = shift(adapted(kind))
    state = backbone.state_dict()
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert set(state) == trained | {"adapted_hash"}
    own = torch.load(FOLDER / "test_vit_0.pth")
    assert torch.equal(state["adapted_hash"], hash_of(own))
    other = adapted(kind)
    other.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(other.eval()(images), backbone(images))


def test_an_adapter_of_other_weights_is_refused():
    with pytest.raises(CheckpointError, match="its adapter belongs to other weights"):
        adapted(seed=1).load_state_dict(adapted(seed=0).state_dict())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_224"])
def test_at_most_five_per_cent_of_the_weights_train(name):
    network = timm.create_model(name, num_classes=0)
    whole = sum(p.numel() for p in network.parameters())
    Adapter("LoRA", rank=8).inject(network)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert 0 < trained <= 0.05 * whole


def test_lora_trains_two_matrices_of_its_rank_in_each_projection_of_the_attention():
    backbone = adapted(rank=4)
    shapes = {n: tuple(p.shape) for n, p in backbone.named_parameters() if p.requires_grad}
    width, blocks = backbone.model.num_features, len(backbone.model.blocks)
    assert len(shapes) == 2 * 2 * blocks
    assert shapes["model.blocks.0.attn.qkv.lora_A.default.weight"] == (4, width)
    assert shapes["model.blocks.0.attn.qkv.lora_B.default.weight"] == (3 * width, 4)


def test_named_layers_alone_are_adapted():
    backbone = adapted(targets=["blocks.1.mlp.*"])
    names = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert names
    assert all(name.startswith("model.blocks.1.mlp.fc") for name in names)


def test_convolutions_can_be_adapted_and_batch_norm_rests(images):
    backbone = adapted(name="test_resnet", targets=["layer*.conv1"]).train()
    before = {n: b.clone() for n, b in backbone.named_buffers() if "running" in n}
    assert before
    backbone(images).sum().backward()
    assert all(torch.equal(b, dict(backbone.named_buffers())[n]) for n, b in before.items())


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(type="Lora"), r"adapter.type: 'Lora' is not one of LoRA.*did you mean \"LoRA\""),
        (dict(type="LoRA", rnk=8), r"adapter.rnk: there is no such argument.*rank"),
        (dict(type="LoRA", rank=0), "adapter.rank must be a whole number >= 1, got 0"),
        (dict(type="LoRA", alpha=0), "adapter.alpha must be a number above 0"),
        (dict(type="LoRA", alpha="x"), "adapter.alpha must be a number above 0, got 'x'"),
        (dict(type="LoRA", dropout="x"), "adapter.dropout must be at least 0 and below 1, got 'x'"),
        (dict(type="LoRA", dropout=1.0), "adapter.dropout must be at least 0 and below 1"),
        (dict(type="LoHa", dropout=0.1), "adapter.dropout: LoHa has none"),
        (dict(type="IA3", rank=8), "IA3 has no rank"),
        (dict(type="LoRA", targets="blocks"), "adapter.targets must be a list"),
        (dict(rank=8), "must be a dict with a type"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_adapter(cfg)


def test_a_pattern_that_matches_no_layer_is_refused():
    with pytest.raises(ValueError, match=r'adapter.targets: "blocks.9.attn.qkv" matches no layer'):
        adapted(targets=["blocks.9.attn.qkv"])
    with pytest.raises(ValueError, match=r"adapter.targets: this network has no attention"):
        adapted(name="test_resnet")


def test_a_network_without_weights_to_adapt_is_refused():
    with pytest.raises(ValueError, match="adapter: there are no weights to adapt"):
        TimmBackbone("test_vit", adapter=dict(type="LoRA"))


def test_a_missing_peft_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r'pip install "metricforge\[peft\]"'):
        Adapter("LoRA").inject(timm.create_model("test_vit", num_classes=0))
