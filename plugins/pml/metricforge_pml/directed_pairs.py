"""Pairs that know which of their two samples chose the other."""

from __future__ import annotations

from dataclasses import dataclass

from metricforge import Pairs


@dataclass(frozen=True, slots=True)
class DirectedPairs(Pairs):
    """Pairs whose ``first`` is the anchor that chose ``second``: what pytorch-metric-learning's pair miners yield.

    A pair that both of its samples chose stands there twice, once in each direction. Its own losses tell the two
    apart; a loss that accepts ``Pairs`` sees a pair that counts twice.
    """
