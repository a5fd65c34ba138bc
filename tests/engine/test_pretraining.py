"""Scores say which weights their backbone began from."""

from __future__ import annotations

import json

import torchvision

from metricforge import build_runner


def test_scores_name_the_weights_that_training_began_from_whatever_a_later_config_says(
    tiny_config, tmp_path, monkeypatch
):
    state = torchvision.models.resnet18(weights=None).state_dict()
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *a, **k: state)
    tiny_config["model"]["backbone"] = dict(type="TorchvisionBackbone", name="resnet18", weights="IMAGENET1K_V1")
    tiny_config["train_cfg"]["max_epochs"] = 1
    build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu").train()
    del tiny_config["model"]["backbone"]["weights"]
    later = build_runner(
        tiny_config, checkpoint=tmp_path / "run" / "iter_6.pth", work_dir=tmp_path / "test", device="cpu"
    )
    later.test()
    files = list(tmp_path.rglob("scores.json"))
    assert len(files) == 2
    for file in files:
        told = json.loads(file.read_text())["protocol"]["pretraining"]
        assert told == {"source": "torchvision's weights IMAGENET1K_V1 of resnet18", "licence": None}
