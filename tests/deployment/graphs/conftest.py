"""Models as small as can be, without training, and photos in folders of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from metricforge.deployment import EmbeddingModel
from metricforge.deployment.model_description import ModelDescription
from metricforge.models import MetricLearner
from metricforge.plugins import load_plugins

SQUARE = [dict(type="Resize", size=36), dict(type="CenterCrop", size=32)]


@pytest.fixture
def make_model() -> Callable[..., EmbeddingModel]:
    load_plugins()

    def make(
        backbone: dict[str, Any],
        preprocessing: list[dict[str, Any]] | None = None,
        similarity: str = "CosineSimilarity",
        head: dict[str, Any] | None = None,
    ) -> EmbeddingModel:
        torch.manual_seed(0)
        parts = dict(
            backbone=backbone, head=head or dict(type="EmbeddingHead", dim=8), similarity=dict(type=similarity)
        )
        description = ModelDescription(parts, tuple(SQUARE if preprocessing is None else preprocessing))
        learner = MetricLearner.from_config(parts, None)
        return EmbeddingModel(learner, description, torch.device("cpu"), "here")

    return make
