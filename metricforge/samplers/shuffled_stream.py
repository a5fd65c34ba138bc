"""An endless supply of shuffled items."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Indices


class ShuffledStream:
    """Yield ``items`` (n,) endlessly in random order, each once before any is repeated, then in a new order.

    One ``take`` returns no item twice; if it asks for more than there are, each is returned about equally often.
    """

    def __init__(self, items: Indices, generator: np.random.Generator) -> None:
        self._items = items
        self._generator = generator
        self._left = items[:0]

    def take(self, count: int) -> Indices:
        """The next ``count`` items (count,)."""
        taken = self._left[:count]
        self._left = self._left[count:]
        while len(taken) < count:
            fresh = self._generator.permutation(self._items)
            lacking = count - len(taken)
            if len(taken) > 0:
                # Items of this take go to the end of the new order: otherwise it could repeat them and miss others.
                times_taken = (fresh[:, None] == taken).sum(axis=1)  # (n,)
                fresh = fresh[np.argsort(times_taken, kind="stable")]
            taken = np.concatenate([taken, fresh[:lacking]])
            self._left = fresh[lacking:]
        return taken
