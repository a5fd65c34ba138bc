"""The batch size at which a model embeds the most images a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from metricforge.arrays import Floats32


class Sized(Protocol):
    """An image as a model takes it: a tensor, or an array."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""


Prepared = TypeVar("Prepared", bound=Sized)
GAIN = 0.95  # of the time an image takes: a larger batch must be as much faster to be worth its memory and its wait
PATIENCE = 2  # sizes that may bring nothing before larger ones are not tried


def fastest_batch(
    embed: Callable[[list[Prepared]], Floats32],
    image: Prepared,
    most: int,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """The power of two up to ``most`` at which an image takes least time; the larger one only if it gains 5 %.

    On a processor it is often small: the activations of a few images fit its cache, those of many do not.

    Args:
        embed: prepared images to embeddings (B, D).
        image: one of the size that will come.
        most: the largest batch to try, at least 1.
        clock: seconds.
    """
    embed([image])  # what the first call does besides counts for no size
    best, seconds, size, vain = 1, float("inf"), 1, 0
    while size <= most and vain < PATIENCE:
        taken = min(_seconds(embed, [image] * size, clock) for _ in range(2)) / size
        if taken < GAIN * seconds:
            best, seconds, vain = size, taken, 0
        else:
            vain += 1
        size *= 2
    return best


def _seconds(embed: Callable[[list[Prepared]], Floats32], images: list[Prepared], clock: Callable[[], float]) -> float:
    started = clock()
    embed(images)
    return clock() - started
