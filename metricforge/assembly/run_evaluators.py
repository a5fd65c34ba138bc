"""The evaluators of a run, and whether they can score its images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.config import Config

from metricforge.arrays import Indices
from metricforge.datasets import ImageDataset
from metricforge.engine.loops.cutoffs_within import cutoffs_within
from metricforge.errors import ConfigError
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import plan_evaluation
from metricforge.interfaces import Evaluator
from metricforge.models import MetricLearner
from metricforge.registry import EVALUATORS
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet, Role


def check_evaluators(cfg: Config, images: ImageDataset, keys: Sequence[str], *, validates: bool = False) -> None:
    """Raise ConfigError for evaluators that cannot score these ``images``, such as with a K beyond their number.

    With ``validates`` they are taken as a validation has them, which leaves values of ``ks`` beyond its images out.
    What a head without ``dim`` makes is known only when the model is built; then the first evaluation finds out.
    """
    dim = (cfg.model.get("head") or {}).get("dim")
    if not isinstance(dim, int):
        return
    everything = np.arange(len(images))
    queries, gallery = _unembedded(images, everything), None
    if images.roles is not None:
        queries, gallery = (
            _unembedded(images, everything[(images.roles & role) != 0]) for role in (Role.QUERY, Role.GALLERY)
        )
    exclude = (cfg.get("test_cfg") or {}).get("exclude")
    try:
        context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True, exclude=exclude)
    except ValueError as fault:
        raise ConfigError([f"test_cfg: {fault}"]) from fault
    for key in keys:
        for number, each in enumerate(cfg.get(key) or []):
            path = f"{key}[{number}]"
            evaluators = [EVALUATORS.build(each, path=path, dim=dim)]
            try:
                plan_evaluation(context, cutoffs_within(evaluators, len(images) - 1) if validates else evaluators)
            except ValueError as fault:
                raise ConfigError([f"{path}: on the {images.split} images: {fault}"]) from fault


def _unembedded(images: ImageDataset, chosen: Indices) -> EmbeddingSet:
    """Return the ``chosen`` of ``images`` without embeddings, for what depends on their number and classes alone."""
    cameras = None if images.cameras is None else images.cameras[chosen]
    return EmbeddingSet(np.broadcast_to(np.float32(0), (len(chosen), 8)), images.labels[chosen], chosen, None, cameras)


def build_evaluators(cfg: Config, key: str, model: MetricLearner) -> list[Evaluator]:
    """Build the evaluators that ``cfg`` has under ``key``."""
    return [
        EVALUATORS.build(each, path=f"{key}[{number}]", dim=model.head.dim)
        for number, each in enumerate(cfg.get(key) or [])
    ]
