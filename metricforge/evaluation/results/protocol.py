"""How scores were measured: what must agree before two numbers are compared."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import faiss
import numpy as np
import sklearn
import torch

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import Evaluator


def describe_protocol(context: EvaluationContext, evaluators: Sequence[Evaluator]) -> dict[str, object]:
    """The protocol of ``evaluate(context, evaluators)``, ready for JSON."""
    return {
        "similarity": {
            "type": type(context.similarity).__name__,
            "search": context.similarity.search or "pairwise",
            "parameters": sum(parameter.numel() for parameter in context.similarity.parameters()),
        },
        "self_exclusion": "by id" if context.shared_ids else "none, queries and gallery are two sets",
        "ties": "by sample order",
        "queries": len(context.queries),
        "gallery": len(context.gallery),
        "classes": context.num_classes,
        "queries_without_match": context.queries_without_match,
        "embedding": {
            "dimensions": context.queries.embeddings.shape[1],
            "dtype": str(context.queries.embeddings.dtype),
            "bytes_per_vector": context.bytes_per_vector,
        },
        "clustering": context.clustering_protocol(),
        "evaluators": [_describe_evaluator(evaluator, context) for evaluator in evaluators],
        "versions": {
            "metricforge": _metricforge_version(),
            "torch": torch.__version__,
            "faiss": faiss.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _describe_evaluator(evaluator: Evaluator, context: EvaluationContext) -> dict[str, object]:
    description = _settings(evaluator, context)
    if counts := evaluator.counts(context):
        description["counts"] = counts
    return description


def _settings(evaluator: Evaluator, context: EvaluationContext) -> dict[str, object]:
    """What it is, the scores that it gave, and how; of each evaluator inside it the same."""
    settings: dict[str, object] = {"type": type(evaluator).__name__}
    if names := context.score_names(evaluator):
        settings["scores"] = list(names)
    settings |= evaluator.protocol()
    if isinstance(evaluator, NestedEvaluator):
        ranking = evaluator.ranking(context)
        settings["evaluators"] = [_settings(inner, ranking) for inner in evaluator.evaluators]
    return settings


def _metricforge_version() -> str:
    try:
        return importlib.metadata.version("metricforge")
    except importlib.metadata.PackageNotFoundError:  # used from a source tree on the path
        return "not installed"
