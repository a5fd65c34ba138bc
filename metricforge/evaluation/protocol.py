"""How scores were measured: what must agree before two numbers are compared."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import faiss
import numpy as np
import sklearn
import torch

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator, Similarity


def describe_similarity(similarity: Similarity) -> dict[str, object]:
    """What ranks, ready for JSON."""
    return {
        "type": type(similarity).__name__,
        "search": similarity.search or "pairwise",
        "parameters": sum(parameter.numel() for parameter in similarity.parameters()),
    }


def describe_evaluators(evaluators: Sequence[Evaluator]) -> list[dict[str, object]]:
    """The evaluators' own protocols, ready for JSON."""
    return [{"type": type(evaluator).__name__, **evaluator.protocol()} for evaluator in evaluators]


def describe_protocol(context: EvaluationContext, evaluators: Sequence[Evaluator]) -> dict[str, object]:
    """The protocol of ``evaluate(context, evaluators)``, ready for JSON."""
    return {
        "similarity": describe_similarity(context.similarity),
        "self_exclusion": "by id" if context.searches_itself else "none, queries and gallery are two sets",
        "ties": "by sample order",
        "queries": len(context.queries),
        "gallery": len(context.gallery),
        "classes": context.num_classes,
        "queries_without_match": context.queries_without_match,
        "embedding": {
            "dimensions": context.queries.embeddings.shape[1],
            "dtype": str(context.queries.embeddings.dtype),
        },
        "clustering": context.clustering_protocol(),
        "evaluators": describe_evaluators(evaluators),
        "versions": {
            "metricforge": _metricforge_version(),
            "torch": torch.__version__,
            "faiss": faiss.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _metricforge_version() -> str:
    try:
        return importlib.metadata.version("metricforge")
    except importlib.metadata.PackageNotFoundError:  # used from a source tree on the path
        return "not installed"
