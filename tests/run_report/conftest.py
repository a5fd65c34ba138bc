"""Two runs on images whose classes have hostile names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metricforge import build_runner

HOSTILE = ("$x^{$", "'quoted\" & <b>bold", "<img src=x onerror=alert(1)>", "<script>alert(1)<", "{{ 7 * 7 }}", "<!--")
TRAINED = tuple(f"a{number}" for number in range(6))


@pytest.fixture(scope="session")
def hostile_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes to train, and six with hostile names to test, of six images each: a pattern a class, with noise."""
    root = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for split, names in (("train", TRAINED), ("test", HOSTILE)):
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            pattern = rng.integers(60, 196, size=(4, 4, 3)).repeat(6, axis=0).repeat(6, axis=1)
            for image in range(6):
                pixels = np.clip(pattern + rng.normal(0, 60, size=(24, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{image}<i>.png")
    return root


@pytest.fixture(scope="session")
def hostile_names() -> list[str]:
    return sorted(HOSTILE)


@pytest.fixture(scope="session")
def train_tiny(hostile_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains for an epoch; changes are of the config."""

    def train(name: str, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        images = dict(
            type="ImageFolderDataset", root=str(hostile_images), transform=[dict(type="Resize", size=(16, 16))]
        )
        config: dict[str, Any] = dict(
            model=dict(
                backbone=dict(type="GlyphNet"),
                head=dict(type="EmbeddingHead", dim=8),
                similarity=dict(type="CosineSimilarity"),
                miner=dict(type="RandomTripletMiner"),
                loss=dict(type="TripletLoss", margin=0.5),
            ),
            train_dataloader=dict(
                dataset=dict(images, split="train"),
                sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=4, samples_per_class=2),
            ),
            test_dataloader=dict(dataset=dict(images, split="test"), batch_size=16),
            evaluators=[dict(type="RecallAtK", ks=[1, 2, 4]), dict(type="MAPAtR"), dict(type="NMI")],
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
            train_cfg=dict(max_epochs=1, log_interval=1),
            seed=3,
        )
        build_runner(config | changes, work_dir=folder, device="cpu").train()
        return folder

    return train


@pytest.fixture(scope="session")
def one_run(train_tiny: Callable[..., Path]) -> Path:
    return train_tiny("one & <i>only")


@pytest.fixture(scope="session")
def other_run(train_tiny: Callable[..., Path]) -> Path:
    return train_tiny("other", optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-2)))
