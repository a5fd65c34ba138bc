"""Whole small runs on an image folder made here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml  # noqa: F401

from metricforge import build_runner
from tests.cut_training import cut_after


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Eight classes of six images: a colour a class, with noise."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(8):
        (root / f"class_{number}").mkdir()
        colour = rng.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + rng.normal(0, 25, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class_{number}" / f"{image}.png")
    return root


def config(root, loss, miner=None, epochs=3):
    return dict(
        model=dict(
            backbone=dict(type="GlyphNet"),
            head=dict(type="EmbeddingHead", dim=8),
            similarity=dict(type="pml.CosineSimilarity"),
            miner=miner,
            loss=loss,
        ),
        train_dataloader=dict(
            dataset=dict(type="ImageFolderDataset", root=str(root), split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=3, samples_per_class=3),
        ),
        test_dataloader=dict(dataset=dict(type="ImageFolderDataset", root=str(root), split="test"), batch_size=8),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        train_cfg=dict(max_epochs=epochs, log_interval=1),
        checkpoint=dict(interval_iterations=1, max_keep=20),
        seed=3,
    )


def test_a_run_with_its_loss_and_miner_trains_and_is_measured(image_folder, tmp_path):
    cfg = config(image_folder, dict(type="pml.MultiSimilarityLoss"), dict(type="pml.MultiSimilarityMiner"))
    runner = build_runner(cfg, work_dir=tmp_path, device="cpu")
    before = [parameter.detach().clone() for parameter in runner.model.parameters()]
    runner.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, runner.model.parameters(), strict=True))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["protocol"]["similarity"]["type"] == "CosineSimilarity"
    assert written["scores"] == runner.last_scores
    assert written["scores"]["recall@1"] > 0.9  # a colour a class


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (dict(type="pml.ArcFaceLoss", scale=8), {"wrapped.W": (8, 4)}),
        (dict(type="pml.ProxyAnchorLoss"), {"wrapped.proxies": (4, 8)}),
        (dict(type="pml.SoftTripleLoss", centers_per_class=3), {"wrapped.fc": (8, 12)}),
        (dict(type="pml.MarginLoss", learn_beta=True, beta_per_class=True), {"wrapped.beta": (4,)}),
        (
            dict(type="pml.MultipleLosses", losses=[dict(type="pml.ProxyNCALoss")]),
            {"losses.0.wrapped.proxies": (4, 8)},
        ),
    ],
    ids=lambda value: value.get("type", ""),
)
def test_proxies_have_the_sizes_of_data_and_head_are_trained_and_kept(loss, shapes, image_folder, tmp_path):
    from metricforge.engine.records.checkpoints import load_checkpoint
    from metricforge.run_records.checkpoint_files import checkpoint_files

    runner = build_runner(config(image_folder, loss), work_dir=tmp_path, device="cpu")
    before = {name: parameter.detach().clone() for name, parameter in runner.model.loss.named_parameters()}
    assert {
        name: tuple(parameter.shape) for name, parameter in before.items()
    } == shapes  # 4 of 8 classes are trained on
    runner.train()
    kept = load_checkpoint(checkpoint_files(tmp_path)[0])["state_dict"]
    for name, parameter in runner.model.loss.named_parameters():
        assert not torch.equal(parameter, before[name])
        assert torch.equal(kept[f"loss.{name}"], parameter)


@pytest.mark.parametrize(
    "loss",
    [
        dict(type="pml.CrossBatchMemory", loss=dict(type="pml.ContrastiveLoss"), memory_size=20),
        dict(
            type="pml.CrossBatchMemory",
            loss=dict(type="TripletLoss"),
            miner=dict(type="HardTripletMiner"),
            memory_size=20,
        ),
        dict(type="pml.DynamicSoftMarginLoss", momentum=0.5),
        dict(type="pml.ArcFaceLoss", scale=8),
    ],
    ids=lambda loss: loss["type"] + loss.get("loss", {}).get("type", ""),
)
def test_a_run_that_was_stopped_resumes_bit_for_bit(loss, image_folder, tmp_path):
    from metricforge.engine.records.checkpoints import load_checkpoint
    from metricforge.run_records.checkpoint_files import checkpoint_files

    cfg = config(image_folder, loss)
    build_runner(cfg, work_dir=tmp_path / "whole", device="cpu").train()
    runner = build_runner(cfg, work_dir=tmp_path / "cut", device="cpu")
    cut_after(runner, 3)
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_3.pth"
    build_runner(cfg, work_dir=tmp_path / "cut", device="cpu", resume=True).train()
    weights = [load_checkpoint(checkpoint_files(tmp_path / f)[0])["state_dict"] for f in ("whole", "cut")]
    assert len(checkpoint_files(tmp_path / "whole")) > 3
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
