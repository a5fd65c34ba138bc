"""MetricForge trains, measures, explains and serves embeddings that put like things close together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metricforge import functional
from metricforge.empty_batches import EmptyBatchWarning
from metricforge.engine.optim.sparse_rows_step import step_touched_rows
from metricforge.errors import MetricForgeError
from metricforge.interfaces import Backbone, Clustering, Evaluator, Loss, Miner, Similarity
from metricforge.measurement import TaggedEmbeddings, evaluate_embeddings
from metricforge.plugins import load_plugins
from metricforge.registry import (
    BACKBONES,
    CLUSTERINGS,
    DATASETS,
    EVALUATORS,
    HEADS,
    LOSSES,
    MINERS,
    SAMPLERS,
    SIMILARITIES,
    TRANSFORMS,
    Registry,
)
from metricforge.samplers import BatchSampler, EmbeddingBatchSampler
from metricforge.structures import EmbeddingSet, LossOutput, Pairs, Quadruplets, RowShard, Triplets, Tuples

if TYPE_CHECKING:
    from metricforge.runner import build_runner

__version__ = "0.1.0"

__all__ = [
    "BACKBONES",
    "CLUSTERINGS",
    "DATASETS",
    "EVALUATORS",
    "HEADS",
    "LOSSES",
    "MINERS",
    "SAMPLERS",
    "SIMILARITIES",
    "TRANSFORMS",
    "Backbone",
    "BatchSampler",
    "Clustering",
    "EmbeddingBatchSampler",
    "EmbeddingSet",
    "EmptyBatchWarning",
    "Evaluator",
    "Loss",
    "LossOutput",
    "MetricForgeError",
    "Miner",
    "Pairs",
    "Quadruplets",
    "Registry",
    "RowShard",
    "Similarity",
    "TaggedEmbeddings",
    "Triplets",
    "Tuples",
    "build_runner",
    "evaluate_embeddings",
    "functional",
    "load_plugins",
    "step_touched_rows",
]


def __getattr__(name: str) -> Any:
    # What trains brings timm, torchvision and mmengine's runner, which scores of embeddings need not load.
    if name == "build_runner":
        from metricforge.runner import build_runner

        return build_runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
