"""Makes the head that reads a layer: the trained one, or one that is fitted to cached features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from metricforge.engine.readout.candidate import BackboneWeights
from metricforge.engine.readout.linear_adaptation import adapt_linearly
from metricforge.engine.readout.whitening import whitening
from metricforge.models import MetricLearner
from metricforge.registry import HEADS
from metricforge.structures import EmbeddingSet


def read_layer(
    layer: str,
    config: Mapping[str, Any],
    model: MetricLearner,
    weights: BackboneWeights,
    known: EmbeddingSet | None,
    seed: int,
) -> tuple[dict[str, Any], Any] | None:
    """Return the config of the head that reads ``layer``, and the head, on the host.

    Args:
        layer: which layer.
        config: of the model that was trained.
        model: that model.
        weights: at which the layer is read; they have the trained head's.
        known: features (N, F) of training images at these weights; None if there are none.
        seed: of the run.

    Returns:
        None where there is nothing to fit the head to.
    """
    trained = dict(config.get("head") or dict(type="EmbeddingHead", l2_normalize=False))
    chosen: dict[str, Any] = {"head": trained, "both": dict(type="FeatureAndHead", head=trained)}.get(layer, {})
    fitted = None
    if layer in ("whitened", "adapted"):
        fitted = None if known is None else _fit(layer, known, int(model.head.dim), seed)  # type: ignore[arg-type]
        if fitted is None:
            return None
        chosen = dict(dim=len(fitted["linear.bias"]), bias=True, layer_norm=layer == "adapted")
    chosen.setdefault("type", "EmbeddingHead")
    head: Any = HEADS.build(chosen, feature_dim=model.backbone.feature_dim).eval()
    if fitted is not None:
        head.load_state_dict(fitted)
    elif layer in ("head", "both"):
        (head if layer == "head" else head.head).load_state_dict(weights.head)
    return chosen, head


def _fit(layer: str, known: EmbeddingSet, dim: int, seed: int) -> dict[str, torch.Tensor] | None:
    """The weights of a linear layer on the features ``known``; None if these are all equal."""
    if layer == "whitened":
        weight, bias = (torch.from_numpy(part) for part in whitening(known.embeddings, dim))
    else:
        adapted = adapt_linearly(known.embeddings, known.labels, dim, seed)
        if adapted is None:
            return None
        weight, bias = adapted
    return {"linear.weight": weight, "linear.bias": bias} if len(weight) else None
