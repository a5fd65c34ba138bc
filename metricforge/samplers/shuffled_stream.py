"""An endless supply of shuffled items."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Indices


class ShuffledStream:
    """Hands out ``items`` (n,) in random order, each once before any comes again, and then in another order, endlessly.

    What one ``take`` returns has no item twice; where more are taken than there are, it has each
    about as often as any other.
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
                # Items of this very take go to the end of the new order, or it could have them twice and lack others.
                times_taken = (fresh[:, None] == taken).sum(axis=1)  # (n,)
                fresh = fresh[np.argsort(times_taken, kind="stable")]
            taken = np.concatenate([taken, fresh[:lacking]])
            self._left = fresh[lacking:]
        return taken
