"""A trained run that every test of deployment reads, and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from metricforge import build_runner


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """One epoch of proxies on the image folder; its test images are read as ``CenterCrop`` of 16 leaves them."""
    folder = tmp_path_factory.mktemp("deployment") / "run"
    data: dict[str, Any] = dict(type="ImageFolderDataset", root=str(image_folder))
    config = dict(
        validation="test",
        model=dict(
            backbone=dict(type="GlyphNet", width=8, feature_dim=16),
            head=dict(type="EmbeddingHead", dim=8),
            similarity=dict(type="CosineSimilarity"),
            loss=dict(type="ProxyNCALoss"),
        ),
        train_dataloader=dict(
            dataset=dict(data, split="train", transform=[dict(type="CenterCrop", size=16)]),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
        ),
        test_dataloader=dict(
            dataset=dict(data, split="test", transform=[dict(type="CenterCrop", size=16)]), batch_size=7
        ),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        train_cfg=dict(max_epochs=1),
        seed=3,
    )
    build_runner(config, work_dir=folder, device="cpu", console=Console(quiet=True)).train()
    return folder
