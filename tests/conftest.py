"""Small real runs that many tests train on: an image folder made here, and a config for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of six 24 x 24 images: a colour a class, with noise."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(8):
        folder = root / f"class_{number}"
        folder.mkdir()
        colour = rng.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + rng.normal(0, 25, size=(24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


@pytest.fixture
def tiny_config(image_folder: Path) -> dict[str, Any]:
    """Trains in a second, and draws random numbers wherever one can: crops, flips, dropout, miner."""
    return dict(
        model=dict(
            backbone=dict(type="GlyphNet"),
            head=dict(type="EmbeddingHead", dim=8, dropout=0.3),
            similarity=dict(type="EuclideanSimilarity"),
            miner=dict(type="RandomTripletMiner"),
            loss=dict(type="TripletLoss", margin=0.5),
        ),
        train_dataloader=dict(
            dataset=dict(
                type="ImageFolderDataset",
                root=str(image_folder),
                split="train",
                transform=[dict(type="RandomCrop", size=16), dict(type="RandomHorizontalFlip")],
            ),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
        ),
        test_dataloader=dict(
            dataset=dict(
                type="ImageFolderDataset",
                root=str(image_folder),
                split="test",
                transform=[dict(type="CenterCrop", size=16)],
            ),
            batch_size=7,
        ),
        evaluators=[dict(type="RecallAtK", ks=[1, 2]), dict(type="MAPAtR"), dict(type="NMI")],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        param_scheduler=[dict(type="CosineAnnealingLR", T_max=3, begin=0, end=3, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=3, log_interval=2),
        seed=3,
    )
