"""One way to make embeddings of what a run has trained: weights of the backbone, and the layer that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from metricforge.engine.readout.beginning import BEGINNINGS
from metricforge.engine.records.weight_choice import second_score

Layer = Literal["head", "pooled", "whitened", "adapted", "both"]
SAYS: dict[str, str] = {
    "head": "trained head",
    "pooled": "pooled feature",
    "whitened": "whitened feature",
    "adapted": "linear layer on the feature",
    "both": "head and feature",
}


@dataclass(frozen=True)
class BackboneWeights:
    """One set of weights of the backbone, and of the head that was trained with it.

    Args:
        name: "pretrained", "fine-tuned", "3/4 fine-tuned", ..., and those of ``BEGINNINGS``.
        backbone: its state dict.
        head: that of the trained head; None for the weights before training, which have none.
    """

    name: str
    backbone: Mapping[str, Tensor]
    head: Mapping[str, Tensor] | None = None


@dataclass
class Candidate:
    """A layer read at certain weights, and what it scored on the validation classes.

    Args:
        weights: name of the ``BackboneWeights``.
        layer: which layer.
        head: config of the head that reads it.
        head_state: its state dict.
        dim: of the embeddings.
        scores: by name, in 0..1; empty without validation classes.
    """

    weights: str
    layer: Layer
    head: Mapping[str, Any]
    head_state: Mapping[str, Tensor]
    dim: int
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a person reads: ``frozen``, ``adapted`` or weights and layer."""
        first = BEGINNINGS.get(self.weights)
        if first is not None and self.layer in ("pooled", "adapted"):
            return first.feature if self.layer == "pooled" else first.adapted
        return f"{self.weights}, {SAYS[self.layer]}"

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights, as JSON's types."""
        return {"weights": self.weights, "layer": self.layer, "dim": self.dim, "scores": self.scores}


def best_of(candidates: Sequence[Candidate], score: str) -> Candidate:
    """Return the candidate with the best ``score``; of equals that with the higher MAP@R, and then the earlier one.

    They come with the simpler ones first.
    """
    return max(candidates, key=lambda each: (each.scores[score], second_score(score, each.scores) or 0.0))
