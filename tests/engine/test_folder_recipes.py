"""The recipes for a folder train on a tiny one, from an untrained tiny vision transformer."""

from __future__ import annotations

import pytest
import timm
import torch

from metricforge import build_runner, load_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "test_vit.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), file)
    return file


@pytest.mark.parametrize("recipe", ["vit_frozen_folder", "vit_lora_folder", "vit_full_folder"])
def test_a_recipe_trains_what_it_says(recipe, weights, image_folder, tmp_path):
    if recipe == "vit_lora_folder":
        pytest.importorskip("peft")
    runner = build_runner(
        recipe,
        overrides={
            "data_root": str(image_folder),
            "model.backbone.name": "test_vit",
            "model.backbone.pretrained": False,
            "model.backbone.weights": str(weights),
            "model.backbone.img_size": 32,
            "train_dataloader.dataset.transform.0.size": 32,
            "test_dataloader.dataset.transform.0.size": (32, 32),
            "train_dataloader.sampler.classes_per_batch": 2,
            "train_dataloader.num_workers": 0,
            "test_dataloader.num_workers": 0,
            "evaluators": [dict(type="RecallAtK", ks=[1])],
            "train_cfg.max_epochs": 1,
        },
        work_dir=tmp_path,
        device="cpu",
    )
    trains = {name for name, p in runner.model.named_parameters() if p.requires_grad}
    backbone = {name for name in trains if name.startswith("backbone.")}
    own = {name for name in backbone if "lora" not in name}
    assert {"head.linear.weight", "loss.proxies"} <= trains
    expected = {"vit_frozen_folder": (False, False), "vit_lora_folder": (True, False), "vit_full_folder": (True, True)}
    assert (bool(backbone), bool(own)) == expected[recipe]
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    moved = {name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= trains
    assert "head.linear.weight" in moved
    assert bool(moved & backbone) == bool(backbone)
    assert {"frozen", "adapted"} <= set(runner.baseline_scores)
    assert load_model(tmp_path, device="cpu").dim == 512
