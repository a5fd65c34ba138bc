"""A model, its photographs and an index of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.backbones import RawPixels
from metricforge.calibration import Calibration
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex, build_index
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity


@pytest.fixture(scope="session")
def pixel_model() -> EmbeddingModel:
    """The pixels of a 3 x 3 image themselves, compared by cosine: neighbours that a test can work out."""
    backbone = dict(type="RawPixels", height=3, width=3)
    head = dict(type="EmbeddingHead", l2_normalize=False)
    description = ModelDescription(
        architecture=dict(backbone=backbone, head=head, similarity=dict(type="CosineSimilarity")), preprocessing=()
    )
    learner = MetricLearner(
        RawPixels(height=3, width=3), EmbeddingHead(feature_dim=27, l2_normalize=False), CosineSimilarity()
    )
    return EmbeddingModel(learner, description, torch.device("cpu"), "here")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty images of 3 x 3 pixels in eight classes."""
    root = tmp_path_factory.mktemp("photos")
    draws = np.random.default_rng(0)
    for number in range(80):
        path = root / f"class_{number % 8}" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draws.integers(0, 256, size=(3, 3, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="session")
def built(pixel_model: EmbeddingModel, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of all photographs, not to be changed."""
    return build_index(pixel_model, open_collection(photo_folder), tmp_path_factory.mktemp("index") / "index").path


@pytest.fixture
def index(built: Path, tmp_path: Path) -> SearchIndex:
    """An index of one's own."""
    return SearchIndex(shutil.copytree(built, tmp_path / "index"))


@pytest.fixture
def calibrate() -> Callable[[SearchIndex, float], None]:
    """Gives an index a threshold, without the labelled images of many classes that choosing one takes."""

    def write(index: SearchIndex, threshold: float) -> None:
        values = Calibration(
            threshold=threshold,
            wanted_rate=0.1,
            rate=0.1,
            low=0.05,
            high=0.15,
            confidence=0.95,
            accepted=0.9,
            scores=(0.0, 1.0),
            probabilities=(0.0, 1.0),
            queries=80,
            classes=8,
            gallery=80,
        ).to_json()
        manifest = index.manifest
        replace(manifest, generation=manifest.generation + 1, calibration=values).write(index.path)

    return write
