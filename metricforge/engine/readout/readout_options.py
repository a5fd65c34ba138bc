"""What the config's ``readout`` may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from metricforge.engine.readout.beginning import RANDOM, beginning_of
from metricforge.engine.readout.candidate import Layer

LAYERS: tuple[Layer, ...] = get_args(Layer)
# What the other layers are fitted on: beyond this, more images change a projection little, and cost a pass each.
MOST_IMAGES = 10_000


@dataclass(frozen=True)
class ReadoutOptions:
    """Which weights and layers are compared on the validation classes once training has ended.

    Args:
        layers: among "head" (the trained head's embedding), "pooled" (the backbone's feature), "whitened" (its
            principal components, as many as the head has dimensions, divided by the square root of their singular
            values), "adapted" (a linear layer trained on the features before training, which are cached) and "both"
            (head and pooled feature side by side). The feature before training (the frozen one of a pretrained
            backbone, vectors themselves, or the untrained one) is always among the candidates.
        interpolations: shares of the trained weights, the rest of which is the pretrained ones'; each in 0..1, 0 and 1
            excluded. There are none without pretrained weights.
        average: whether the mean of the checkpoints that the run keeps is a candidate.
        score: what is compared; None: ``checkpoint.save_best``, or "recall@1". Of equals, the higher "map@r", and then
            the simpler.
        max_images: how many training images at most the other layers are fitted on, spread evenly over all.

    Raises:
        ValueError: for a layer that there is not, a share outside 0..1, or fewer than two images.
    """

    layers: Sequence[str] = LAYERS
    interpolations: Sequence[float] = (0.75, 0.5, 0.25)
    average: bool = True
    score: str | None = None
    max_images: int = MOST_IMAGES

    def __post_init__(self) -> None:
        unknown = [layer for layer in self.layers if layer not in LAYERS]
        if isinstance(self.layers, str) or unknown or not len(self.layers):
            raise ValueError(f"layers must be a list of some of {', '.join(LAYERS)}, got {self.layers!r}")
        for share in self.interpolations:
            if not 0 < share < 1:
                raise ValueError(f"interpolations must lie between 0 and 1, both excluded, got {share!r}")
        if self.max_images < 2:
            raise ValueError(f"max_images must be at least 2, got {self.max_images}")


def readout_options(config: Mapping[str, Any]) -> ReadoutOptions | None:
    """Return the options of ``config``; None: no readout.

    By default there is one where the features before training are worth something: with a pretrained backbone, and on
    vectors. A run from random weights has one if its config asks for it. A backbone that several processes share out
    has none: what a readout mixes are complete weights.
    """
    without = beginning_of(config["model"]["backbone"]) is RANDOM or config["train_cfg"].get("shard_backbone", False)
    default: dict[str, Any] | None = None if without else {}
    chosen = config.get("readout", default)
    return None if chosen is None else ReadoutOptions(**chosen)
