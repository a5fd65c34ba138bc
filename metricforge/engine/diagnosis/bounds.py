"""From where on the doctor speaks."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields

from metricforge.argument_types import is_number


@dataclass(frozen=True)
class Bounds:
    """The ``doctor`` of a config: the bounds of each diagnosis. None in place of a number: that one is never made.

    Args:
        readings: how many readings in a row must be beyond a bound, from 1 to ``sys.maxsize``.
        share: of the training time that looking may take, in (0, 1]; 1: look whenever the losses are read.
        spread: least spread of a batch's embeddings, 0..1 of their length.
        rank: least effective rank of a batch's embeddings, >= 1; of at least 8 dimensions and 32 images.
        margin: how near, 0..1 of it, the loss must stay to the value that it has where all embeddings are the same.
        active: least share of a batch's images, 0..1, that get a gradient from the loss.
        unseen: largest share of the classes with a proxy, 0..1, that may have had no image by half of the epochs.
        movement: by how much, 0..1 of their length, the weights must at least be able to move in the whole run.
        untrained: by how much, 0..1, a score may be below the untrained feature's from half of the epochs on.
        gap: largest difference, 0..1, of recall@1 within batches of training and of validation classes, while the
            validation score falls.
        doubtful: largest share of training images, 0..1, whose label looks wrong.
        waiting: largest share of the time, 0..1, that the device may wait for images.

    Raises:
        ValueError: for a value outside these ranges.
    """

    readings: int = 5
    share: float = 0.01
    spread: float | None = 0.01
    rank: float | None = 1.5
    margin: float | None = 0.02
    active: float | None = 0.01
    unseen: float | None = 0.01
    movement: float | None = 0.001
    untrained: float | None = 0.0
    gap: float | None = 0.3
    doubtful: float | None = 0.01
    waiting: float | None = 0.5

    def __post_init__(self) -> None:
        whole = isinstance(self.readings, int) and not isinstance(self.readings, bool)
        if not (whole and 1 <= self.readings <= sys.maxsize):
            raise ValueError(f"readings must be a whole number from 1 to {sys.maxsize}, got {self.readings!r}")
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "readings" or (value is None and each.name != "share"):
                continue
            low, high = (1.0, math.inf) if each.name == "rank" else (0.0, 1.0)
            if not is_number(value) or not low <= value <= high or (each.name == "share" and value == 0):
                allowed = "a number >= 1" if each.name == "rank" else "a number in 0..1"
                allowed = "a number above 0, at most 1" if each.name == "share" else f"{allowed}, or None"
                raise ValueError(f"{each.name} must be {allowed}, got {value!r}")
