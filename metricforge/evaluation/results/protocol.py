"""How scores were measured, which must agree before two of them are compared."""

from __future__ import annotations

import faiss
import numpy as np
import sklearn
import torch

from metricforge.evaluation.evaluate import Evaluation, EvaluatorResult
from metricforge.evaluation.search.retrieval_task import RetrievalTask
from metricforge.version import __version__


def describe_protocol(evaluation: Evaluation) -> dict[str, object]:
    """Describe how the scores of ``evaluation`` were measured, ready for JSON."""
    context = evaluation.context
    task = context.task
    return {
        "similarity": {
            "type": type(context.similarity).__name__,
            "search": context.similarity.search or "pairwise",
            "parameters": sum(parameter.numel() for parameter in context.similarity.parameters()),
        },
        "self_exclusion": "by id" if task.shared_ids else "none, queries and gallery are two sets",
        **_exclusion(task),
        "ties": "by sample order",
        "queries": len(task.queries),
        "gallery": len(task.gallery),
        "classes": task.num_classes,
        "queries_without_match": task.queries_without_match,
        "embedding": {
            "dimensions": task.queries.embeddings.shape[1],
            "dtype": str(task.queries.embeddings.dtype),
            "bytes_per_vector": context.bytes_per_vector,
        },
        "embedding_spread": {name: _four_digits(value) for name, value in context.spread._asdict().items()},
        "clustering": context.clustering_protocol(),
        "evaluators": [_describe(result) for result in evaluation.results],
        "versions": {
            "metricforge": __version__,
            "torch": torch.__version__,
            "faiss": faiss.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _exclusion(task: RetrievalTask) -> dict[str, object]:
    """Describe what queries leave out besides themselves; empty if nothing."""
    if task.exclude is None:
        return {}
    return {"exclude": task.exclude, "images_left_out_per_query": _four_digits(float(task.left_out.mean()))}


def _four_digits(value: float) -> float:
    """Round ``value`` to four digits."""
    return float(f"{value:.4g}")


def _describe(result: EvaluatorResult) -> dict[str, object]:
    description = _settings(result)
    if counts := result.evaluator.counts(result.context):
        description["counts"] = counts
    return description


def _settings(result: EvaluatorResult) -> dict[str, object]:
    """Describe an evaluator, its scores and its settings, and the same of each evaluator inside it."""
    evaluator = result.evaluator
    settings = {"type": type(evaluator).__name__, "scores": list(result.scores), **evaluator.protocol()}
    if result.inner is not None:
        settings["evaluators"] = [_settings(inner) for inner in result.inner.results]
    return settings
