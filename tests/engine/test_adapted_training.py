"""Runs that train an adapter: exact resume, small checkpoints, one network afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

pytest.importorskip("peft")

from metricforge import build_runner, load_model
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError


@pytest.fixture
def config(tiny_config, tmp_path):
    torch.manual_seed(5)
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.pth")
    tiny_config["model"]["backbone"] = dict(
        type="TimmBackbone",
        name="test_vit",
        weights=str(tmp_path / "vit.pth"),
        img_size=32,
        adapter=dict(type="LoRA", rank=4, dropout=0.2),
    )
    tiny_config["test_dataloader"]["dataset"]["transform"] = [dict(type="Resize", size=(32, 32))]
    tiny_config["train_dataloader"]["dataset"]["transform"] = [dict(type="RandomResizedCrop", size=32)]
    tiny_config |= dict(
        train_cfg=dict(max_epochs=2, log_interval=2), checkpoint=dict(interval_iterations=4, max_keep=9)
    )
    tiny_config["optim_wrapper"] = dict(optimizer=dict(type="AdamW", lr=1e-2))
    return tiny_config


def train(config, folder, resume=False):
    runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
    runner.train()
    return runner


def test_a_run_resumes_bit_for_bit_and_its_model_is_merged(config, tmp_path):
    whole = train(config, tmp_path / "run")
    expected = load_checkpoint(tmp_path / "run" / "iter_12.pth")
    assert not any("blocks.0.mlp" in name for name in expected["state_dict"])
    assert expected["state_dict"]["backbone.adapted_hash"].shape == (16,)
    for late in ("iter_12.pth", "iter_8.pth"):
        (tmp_path / "run" / late).unlink()
    train(config, tmp_path / "run", resume=True)
    found = load_checkpoint(tmp_path / "run" / "iter_12.pth")
    assert all(torch.equal(value, found["state_dict"][name]) for name, value in expected["state_dict"].items())

    tested = build_runner(config, checkpoint=tmp_path / "run" / "iter_12.pth", device="cpu")
    assert tested.test() == whole.last_scores
    embedded = embed_dataset(tested.model, tested.test_dataloader, tested.device).embeddings
    model = load_model(tmp_path / "run", device="cpu")
    paths = [tested.test_dataloader.dataset.location(index) for index in range(len(embedded))]
    np.testing.assert_allclose(model.embed(paths), embedded, rtol=0, atol=1e-5)
    assert "adapter" not in model.description.architecture["backbone"]
    assert not any("lora" in name for name in model.learner.state_dict())

    (tmp_path / "vit.pth").unlink()
    with pytest.raises(CheckpointError, match=r"vit\.pth does not exist"):
        load_model(tmp_path / "run")
    bundle = model.save(tmp_path / "bundle")  # needs nothing beside it
    np.testing.assert_array_equal(load_model(bundle, device="cpu").embed(paths), model.embed(paths))


def test_an_adapter_is_not_put_on_other_weights(config, tmp_path):
    train(config, tmp_path / "run")
    torch.manual_seed(6)
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match="its adapter belongs to other weights"):
        load_model(tmp_path / "run")
    with pytest.raises(CheckpointError, match="its adapter belongs to other weights"):
        train(config, tmp_path / "run", resume=True)


def test_averaged_weights_of_an_adapter_are_scored_and_resumed(config, tmp_path):
    config["custom_hooks"] = [dict(type="EMAHook", momentum=0.2)]
    whole = train(config, tmp_path / "run")
    expected = load_checkpoint(tmp_path / "run" / "iter_12.pth")
    for late in ("iter_12.pth", "iter_8.pth"):
        (tmp_path / "run" / late).unlink()
    again = train(config, tmp_path / "run", resume=True)
    found = load_checkpoint(tmp_path / "run" / "iter_12.pth")
    assert all(torch.equal(value, found["state_dict"][name]) for name, value in expected["state_dict"].items())
    assert again.last_scores == whole.last_scores
