"""Train neural networks that map similar images to nearby embeddings, measure how well they do it, and put them to use.

Each public name is imported on first use (PEP 562), so that ``import metricforge`` and ``metricforge --help`` load
neither torch nor scikit-learn nor mmengine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metricforge.version import __version__ as __version__

if TYPE_CHECKING:
    from metricforge import functional
    from metricforge.deployment import EmbeddingModel, load_model
    from metricforge.embedding_files.tagged_embeddings import TaggedEmbeddings
    from metricforge.empty_batches import EmptyBatchWarning
    from metricforge.engine.optim.sparse_rows_step import step_touched_rows
    from metricforge.errors import MetricForgeError
    from metricforge.index import Hit, SearchIndex, load_index
    from metricforge.interfaces import (
        Backbone,
        Clustering,
        EvaluationContext,
        Evaluator,
        Head,
        Loss,
        Miner,
        Similarity,
        Transform,
    )
    from metricforge.measurement.evaluate_embeddings import evaluate_embeddings
    from metricforge.plugins import load_plugins
    from metricforge.registry import (
        BACKBONES,
        CLUSTERINGS,
        DATASETS,
        EVALUATORS,
        HEADS,
        HOOKS,
        LOSSES,
        MINERS,
        SAMPLERS,
        SIMILARITIES,
        TRANSFORMS,
        Registry,
    )
    from metricforge.runner import build_runner
    from metricforge.samplers import BatchSampler, EmbeddingBatchSampler
    from metricforge.structures import (
        DirectedPairs,
        EmbeddingSet,
        LossOutput,
        Pairs,
        Quadruplets,
        RowShard,
        Triplets,
        Tuples,
    )
    from metricforge.version import CONTRACT

__all__ = [
    "BACKBONES",
    "CLUSTERINGS",
    "CONTRACT",
    "DATASETS",
    "EVALUATORS",
    "HEADS",
    "HOOKS",
    "LOSSES",
    "MINERS",
    "SAMPLERS",
    "SIMILARITIES",
    "TRANSFORMS",
    "Backbone",
    "BatchSampler",
    "Clustering",
    "DirectedPairs",
    "EmbeddingBatchSampler",
    "EmbeddingModel",
    "EmbeddingSet",
    "EmptyBatchWarning",
    "EvaluationContext",
    "Evaluator",
    "Head",
    "Hit",
    "Loss",
    "LossOutput",
    "MetricForgeError",
    "Miner",
    "Pairs",
    "Quadruplets",
    "Registry",
    "RowShard",
    "SearchIndex",
    "Similarity",
    "TaggedEmbeddings",
    "Transform",
    "Triplets",
    "Tuples",
    "build_runner",
    "evaluate_embeddings",
    "functional",
    "load_index",
    "load_model",
    "load_plugins",
    "step_touched_rows",
]

# Where each name is defined; type checkers read the imports above, and a test compares the two.
_DEFINED_IN = {
    "deployment": ["EmbeddingModel", "load_model"],
    "empty_batches": ["EmptyBatchWarning"],
    "engine.optim.sparse_rows_step": ["step_touched_rows"],
    "errors": ["MetricForgeError"],
    "index": ["Hit", "SearchIndex", "load_index"],
    "interfaces": [
        "Backbone",
        "Clustering",
        "EvaluationContext",
        "Evaluator",
        "Head",
        "Loss",
        "Miner",
        "Similarity",
        "Transform",
    ],
    "measurement.evaluate_embeddings": ["evaluate_embeddings"],
    "embedding_files.tagged_embeddings": ["TaggedEmbeddings"],
    "plugins": ["load_plugins"],
    "registry": [
        "BACKBONES",
        "CLUSTERINGS",
        "DATASETS",
        "EVALUATORS",
        "HEADS",
        "HOOKS",
        "LOSSES",
        "MINERS",
        "SAMPLERS",
        "SIMILARITIES",
        "TRANSFORMS",
        "Registry",
    ],
    "runner": ["build_runner"],
    "samplers": ["BatchSampler", "EmbeddingBatchSampler"],
    "structures": [
        "DirectedPairs",
        "EmbeddingSet",
        "LossOutput",
        "Pairs",
        "Quadruplets",
        "RowShard",
        "Triplets",
        "Tuples",
    ],
    "version": ["CONTRACT"],
}
_MODULE_OF = {name: module for module, names in _DEFINED_IN.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "functional":
        return import_module("metricforge.functional")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"metricforge.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
