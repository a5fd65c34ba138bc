"""MetricForge trains, measures, explains and serves embeddings that put like things close together."""

from metricforge import functional
from metricforge.empty_batches import EmptyBatchWarning
from metricforge.engine.touched_rows import step_touched_rows
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
from metricforge.runner import build_runner
from metricforge.samplers import BatchSampler, EmbeddingBatchSampler
from metricforge.structures import EmbeddingSet, LossOutput, Pairs, Quadruplets, RowShard, Triplets, Tuples

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
