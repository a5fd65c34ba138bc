"""What the backbone of a run is before training, and what readouts call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metricforge.backbones import IdentityBackbone
from metricforge.backbones.pretraining import pretraining_of


@dataclass(frozen=True)
class Beginning:
    """A kind of backbone before training, in words.

    Args:
        weights: what its weights are called among candidates.
        feature: what their pooled feature is called.
        adapted: what a linear layer that is trained on this feature is called.
        trained: what its weights are called after training.
        nothing_between: why there is nothing to interpolate between the two; empty if there is.
    """

    weights: str
    feature: str
    adapted: str
    trained: str
    nothing_between: str = ""


PRETRAINED = Beginning("pretrained", "frozen", "adapted", "fine-tuned")
VECTORS = Beginning("vectors", "vectors", "adapted", "trained", "vectors come without weights")
RANDOM = Beginning(
    "untrained", "untrained", "untrained, adapted", "trained", "half of the way from random weights is no model"
)
BEGINNINGS = {each.weights: each for each in (PRETRAINED, VECTORS, RANDOM)}


def beginning_of(backbone: Mapping[str, Any]) -> Beginning:
    """Return what ``backbone``, a component's config, is before training."""
    if backbone["type"] == IdentityBackbone.__name__:
        return VECTORS
    return RANDOM if pretraining_of(backbone)["source"] is None else PRETRAINED
