from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from metricforge import BACKBONES, Backbone, Loss, LossOutput, Pairs, Triplets
from metricforge.backbones import RawPixels
from metricforge.errors import ConfigError
from metricforge.heads import EmbeddingHead
from metricforge.losses import ContrastiveLoss, TripletLoss
from metricforge.miners import HardPairMiner, HardTripletMiner
from metricforge.models import MetricLearner, compatibility_faults
from metricforge.similarities import EuclideanSimilarity

IMAGES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


class MeanColour(Backbone):
    """Channel means, so that what the network was given can be worked out by hand."""

    feature_dim = 3
    mean = (0.5, 0.25, 0.0)
    std = (0.5, 1.0, 2.0)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images):
        return images.mean(dim=(2, 3)) * self.scale


class RecordingLoss(Loss):
    """Keeps what it was called with; has parts whose names contain "loss"."""

    accepts = (Triplets,)

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        self.seen = (embeddings, labels, tuples, similarity)
        total = embeddings.square().sum()
        return LossOutput(total, {"another_loss": 1000 * total, "loss": total + 5})


def learner(loss=None, miner=None):
    return MetricLearner(MeanColour(), EmbeddingHead(3, l2_normalize=False), EuclideanSimilarity(), loss, miner)


def step(model, lr=0.1):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=lr))
    return model.train_step({"image": IMAGES, "label": LABELS}, wrapper)


def test_images_are_normalised_with_the_backbone_s_mean_and_deviation():
    expected = (IMAGES.double() / 255).mean(dim=(2, 3))
    expected = (expected - torch.tensor([0.5, 0.25, 0.0])) / torch.tensor([0.5, 1.0, 2.0])
    assert torch.allclose(learner().embed(IMAGES).double(), expected, atol=1e-6)


def test_the_loss_sees_what_the_miner_chose_and_the_similarity():
    model = learner(RecordingLoss(), HardTripletMiner())
    model(IMAGES, LABELS)
    embeddings, labels, tuples, similarity = model.loss.seen
    assert embeddings.requires_grad
    assert labels is LABELS
    assert isinstance(tuples, Triplets)
    assert len(tuples) == 6
    assert similarity is model.similarity


def test_without_a_miner_the_loss_sees_no_tuples():
    model = learner(RecordingLoss())
    model(IMAGES, LABELS)
    assert model.loss.seen[2] is None


def test_only_the_total_is_differentiated_whatever_the_parts_are_called():
    model = learner(RecordingLoss())
    features = model.embed(IMAGES).detach()
    outputs = step(model)
    # d/ds of sum (s x)^2 at s = 1 is 2 sum x^2, and SGD takes a tenth of it
    expected = 1 - 0.1 * 2 * features.square().sum(dim=0)
    assert torch.allclose(model.backbone.scale, expected, rtol=1e-5)
    assert outputs["loss"].item() == pytest.approx(features.square().sum().item(), rel=1e-5)
    assert set(outputs) == {"loss", "loss/another_loss", "loss/loss"}
    assert not any(value.requires_grad for value in outputs.values())


def test_a_loss_computes_in_float32_under_autocast():
    model = learner(RecordingLoss())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(IMAGES, LABELS)
        assert model.loss.seen[0].dtype == torch.float32


def test_a_resting_backbone_gets_no_gradient():
    model = learner(RecordingLoss())
    model.head = EmbeddingHead(3, dim=2, l2_normalize=False)
    model.train_backbone = False
    model(IMAGES, LABELS).total.backward()
    assert model.backbone.scale.grad is None
    assert model.head.linear.weight.grad is not None


def test_the_normalisation_is_no_part_of_a_checkpoint():
    assert set(learner().state_dict()) == {"backbone.scale"}


def test_a_miner_and_a_loss_that_do_not_fit_are_refused_with_those_that_do():
    with pytest.raises(
        ConfigError, match=r"HardPairMiner yields Pairs, but TripletLoss accepts Triplets.*HardTripletMiner"
    ):
        learner(TripletLoss(), HardPairMiner())


def test_a_miner_may_yield_a_special_kind_of_what_the_loss_accepts():
    class SpecialPairs(Pairs):
        pass

    class SpecialMiner(HardPairMiner):
        yields = SpecialPairs

    assert compatibility_faults(SpecialMiner, ContrastiveLoss) == []
    (fault,) = compatibility_faults(SpecialMiner, TripletLoss)
    assert "SpecialMiner yields SpecialPairs, but TripletLoss accepts Triplets" in fault


def test_a_loss_that_needs_a_miner_says_which():
    class Needy(Loss):
        accepts = (Pairs,)
        needs_miner = True

        def forward(self, embeddings, labels, tuples=None, similarity=None): ...

    (fault,) = compatibility_faults(None, Needy)
    assert "model.miner: Needy needs a miner that yields Pairs" in fault
    assert "HardPairMiner" in fault


def test_a_loss_without_tuples_takes_no_miner():
    class Proxy(Loss):
        def forward(self, embeddings, labels, tuples=None, similarity=None): ...

    (fault,) = compatibility_faults(HardPairMiner, Proxy)
    assert "no tuples at all; leave the miner out" in fault
    assert compatibility_faults(None, Proxy) == []
    assert compatibility_faults(HardPairMiner, ContrastiveLoss) == []


def test_from_config_hands_sizes_to_those_who_ask():
    cfg = dict(backbone=dict(type="GlyphNet", feature_dim=20), head=dict(type="EmbeddingHead", dim=7))
    model = MetricLearner.from_config(cfg, num_classes=None)
    assert model.head.linear.weight.shape == (7, 20)
    assert type(model.similarity).__name__ == "EuclideanSimilarity"


def test_a_model_without_a_head_embeds_by_its_features():
    model = MetricLearner.from_config(dict(backbone=dict(type="RawPixels", height=8, width=8)), None)
    assert torch.allclose(model.embed(IMAGES), (IMAGES.float() / 127.5 - 1).flatten(1), atol=1e-5)


@pytest.mark.parametrize("source", [dict(pretrained=True), dict(weights="absent.pth")])
def test_a_model_for_a_checkpoint_asks_for_no_pretrained_weights(source, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cfg = dict(backbone=dict(type="TimmBackbone", name="tf_efficientnet_lite0", **source))
    model = MetricLearner.from_config(cfg, None, for_checkpoint=True)
    assert model.backbone.feature_dim == 1280
    assert cfg["backbone"].keys() == {"type", "name", *source}  # the config itself stays as it is


def test_a_backbone_that_cannot_do_without_its_weights_keeps_them():
    @BACKBONES.register_module(force=True)
    class NeedsWeights(RawPixels):
        def __init__(self, weights: str) -> None:
            super().__init__(height=8, width=8)
            self.weights = weights

    try:
        cfg = dict(backbone=dict(type="NeedsWeights", weights="mine"))
        assert MetricLearner.from_config(cfg, None, for_checkpoint=True).backbone.weights == "mine"
    finally:
        BACKBONES.module_dict.pop("NeedsWeights")
