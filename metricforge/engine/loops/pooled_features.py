"""The features that heads are applied to, of all images of a data set."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.heads import EmbeddingHead
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity
from metricforge.structures import EmbeddingSet


def pooled_features(runner: Any, loader: DataLoader[dict[str, Any]], task: str) -> EmbeddingSet | None:
    """Embed all images of ``loader`` by the backbone alone, features (N, F), on process 0; None on the others."""
    backbone = runner.model.backbone
    pooled = MetricLearner(backbone, EmbeddingHead(backbone.feature_dim, l2_normalize=False), CosineSimilarity())
    count = len(loader.dataset) // runner.processes.world_size  # type: ignore[arg-type]
    with runner.progress(task, count) as advance:
        return embed_dataset(pooled, loader, runner.device, advance, runner.processes)
