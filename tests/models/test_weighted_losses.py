from __future__ import annotations

import json

import pytest
import torch

from metricforge import build_runner, load_model
from metricforge.config_check import check_config
from metricforge.errors import ConfigError
from metricforge.losses import ContrastiveLoss, TripletLoss
from metricforge.miners import HardPairMiner, HardTripletMiner
from metricforge.models import MetricLearner, WeightedLosses
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_loss

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
PROXIES = dict(type="ProxyAnchorLoss")


def rows():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()


def built(losses, miner=None):
    cfg = dict(backbone=dict(type="RawPixels", height=2, width=2), loss=losses, miner=miner)
    return MetricLearner.from_config(cfg, num_classes=3)


def test_it_fulfils_the_contract():
    check_loss(WeightedLosses([TripletLoss(), ContrastiveLoss()], [1.0, 0.5], [None, HardPairMiner()]))


def test_it_is_the_weighted_sum_and_reports_each_part():
    triplet = dict(type="TripletLoss")
    model = built([dict(type="ContrastiveLoss", weight=0.5), triplet, triplet | dict(weight=3)])
    embeddings = rows()
    output = model.loss(embeddings, LABELS)
    pairs, triplets = ContrastiveLoss()(embeddings, LABELS), TripletLoss()(embeddings, LABELS)
    assert output.total.item() == pytest.approx((0.5 * pairs.total + 4 * triplets.total).item())
    gradient = torch.autograd.grad(output.total, embeddings)[0]
    expected = torch.autograd.grad(0.5 * pairs.total + 4 * triplets.total, embeddings)[0]
    torch.testing.assert_close(gradient, expected)
    assert output.parts["ContrastiveLoss"].item() == pytest.approx(pairs.total.item())
    assert output.parts["TripletLoss"] == output.parts["TripletLoss_2"] == triplets.total
    assert output.parts["TripletLoss_2/active"] == triplets.parts["active"]


def test_each_loss_gets_its_own_tuples_or_the_model_s_if_it_takes_them():
    triplet = dict(type="TripletLoss", miner=dict(type="HardTripletMiner"))
    model = built([PROXIES, triplet, dict(type="ContrastiveLoss")], dict(type="HardPairMiner"))
    embeddings, similarity = torch.randn(6, 12, generator=torch.Generator().manual_seed(0)), EuclideanSimilarity()
    pairs = HardPairMiner()(embeddings, LABELS, similarity)
    triplets = HardTripletMiner()(embeddings, LABELS, similarity)
    parts = model.loss(embeddings, LABELS, pairs, similarity).parts
    assert parts["ContrastiveLoss"] == ContrastiveLoss()(embeddings, LABELS, pairs).total
    assert parts["TripletLoss"] == TripletLoss()(embeddings, LABELS, triplets).total
    assert parts["ProxyAnchorLoss"] == model.loss.losses[0](embeddings, LABELS).total


@pytest.mark.parametrize(
    ("losses", "miner", "says"),
    [
        ([], None, "model.loss: is missing; choose one of"),
        (["TripletLoss"], None, r"model.loss\[0\]: 'TripletLoss' must be a dict with a type"),
        ([dict(type="TripletLos")], None, r'model.loss\[0\].type: "TripletLos" is not a registered loss.*TripletLoss'),
        (
            [PROXIES, dict(type="TripletLoss", margn=1)],
            None,
            r"model.loss\[1\].margn: TripletLoss has no such argument",
        ),
        ([dict(type="TripletLoss", weight=0)], None, r"model.loss\[0\].weight must be a number > 0, got 0; leave"),
        ([dict(type="TripletLoss", weight="1")], None, r"model.loss\[0\].weight must be a number > 0, got '1'"),
        ([dict(type="TripletLoss", miner=dict(type="Hard"))], None, r"model.loss\[0\].miner.type: \"Hard\" is not"),
        (
            [PROXIES, dict(type="TripletLoss", miner=dict(type="HardPairMiner"))],
            None,
            r"model.loss\[1\].miner: HardPairMiner yields Pairs, but TripletLoss accepts Triplets",
        ),
        ([dict(PROXIES, miner=dict(type="HardPairMiner"))], None, r"model.loss\[0\].miner: .*accepts no tuples"),
        (
            [dict(type="TripletLoss"), dict(type="ContrastiveLoss")],
            "HardPairMiner",
            r"model.loss\[0\]: the model's HardPairMiner yields Pairs, but TripletLoss accepts Triplets; give it a",
        ),
        ([PROXIES], "HardPairMiner", "model.miner: none of the losses takes tuples from HardPairMiner; leave it out"),
    ],
)
def test_a_list_is_checked_before_training(tiny_config, losses, miner, says):
    tiny_config["model"] |= dict(loss=losses, miner=dict(type=miner) if miner else None)
    faults = check_config(tiny_config)
    assert len(faults) == 1, faults
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(faults[0])


def test_a_model_built_by_hand_is_checked_too():
    parts = built([PROXIES])
    loss = WeightedLosses([TripletLoss()], [1.0], [None])
    with pytest.raises(ConfigError, match=r"model.loss\[0\]: the model's HardPairMiner yields Pairs"):
        MetricLearner(parts.backbone, parts.head, parts.similarity, loss, HardPairMiner())


def test_a_run_logs_each_part_and_its_model_classifies(tiny_config, tmp_path):
    tiny_config["model"] |= dict(loss=[dict(PROXIES, weight=0.5), dict(type="ContrastiveLoss")], miner=None)
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    entries = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    losses = next(entry["losses"] for entry in entries if "losses" in entry)
    weighted = 0.5 * losses["loss/ProxyAnchorLoss"] + losses["loss/ContrastiveLoss"]
    assert losses["loss"] == pytest.approx(weighted, rel=1e-5)
    assert "loss/ProxyAnchorLoss/negative" in losses
    assert load_model(tmp_path / "run").classifies
