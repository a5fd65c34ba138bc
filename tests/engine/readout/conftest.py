"""A run of a pretrained network that trains in a second, with classes to choose by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

NETWORK = "test_efficientnet"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for the smallest network of timm that has BatchNorm."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save(timm.create_model(NETWORK).state_dict(), file)
    return file


@pytest.fixture
def config(tiny_config: dict[str, Any], folder_of_24_classes: Path, weights: Path) -> dict[str, Any]:
    """Nine classes train, three choose and twelve test."""
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.25)
    tiny_config["model"] = dict(
        backbone=dict(type="TimmBackbone", name=NETWORK, weights=str(weights)),
        head=dict(type="EmbeddingHead", dim=8),
        similarity=dict(type="CosineSimilarity"),
        loss=dict(type="ProxyNCALoss"),
    )
    tiny_config["evaluators"] = [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR")]
    tiny_config["train_cfg"] = dict(max_epochs=2, log_interval=2)
    tiny_config["optim_wrapper"] = dict(optimizer=dict(type="AdamW", lr=3e-3))
    return tiny_config
