"""``Calibration``: the similarity below which a query counts as unknown, and how likely each one is a match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SHARES = ("wanted_rate", "rate", "low", "high", "confidence", "accepted")


@dataclass(frozen=True)
class Calibration:
    """What an index knows of its similarities, measured on images of known classes.

    Args:
        threshold: the similarity from which on the nearest image counts as a match.
        wanted_rate: the share of queries of unknown classes that were to be accepted by mistake, in 0..1.
        rate: the share that ``threshold`` accepts of the classes that it was chosen on.
        low: between this and ``high`` lies, with ``confidence``, the share among other classes.
        high: see ``low``.
        confidence: of the interval.
        accepted: the share of queries whose class is there that are accepted by a right image.
        scores: similarities, ascending, and
        probabilities: the share of neighbours with such a similarity that are of the query's class; between two points
            it is a straight line.
        queries: images that were searched with.
        classes: how many classes they are of.
        gallery: images among which they were searched; more images make mistakes likelier.
    """

    threshold: float
    wanted_rate: float
    rate: float
    low: float
    high: float
    confidence: float
    accepted: float
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    queries: int
    classes: int
    gallery: int

    def probability(self, score: float) -> float:
        """That an image of this similarity is of the query's class, in 0..1."""
        return float(np.interp(score, self.scores, self.probabilities))

    def describe(self) -> str:
        """The threshold and what it was chosen on, in a line."""
        return (
            f"similarities below {self.threshold:.4f} are no match: {100 * self.rate:.2f} % of the queries of unknown "
            f"classes are accepted among {self.gallery:,} images (of other classes {100 * self.low:.2f} to "
            f"{100 * self.high:.2f} %; by {self.queries:,} queries of {self.classes:,} classes)"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """What ``to_json`` gave.

        Raises:
            ValueError: for anything else.
        """
        try:
            curve: dict[str, Any] = {name: tuple(map(float, values[name])) for name in ("scores", "probabilities")}
            counts: dict[str, Any] = {name: int(values[name]) for name in ("queries", "classes", "gallery")}
            shares: dict[str, Any] = {name: float(values[name]) for name in SHARES}
            found = cls(threshold=float(values["threshold"]), **shares, **curve, **counts)
        except (KeyError, TypeError, ValueError, OverflowError) as fault:
            raise ValueError(f"the calibration is damaged ({type(fault).__name__}: {fault})") from fault
        if not np.isfinite([found.threshold, *found.scores]).all() or not len(found.scores) == len(found.probabilities):
            raise ValueError("the calibration is damaged: threshold and curve must be finite numbers")
        if not found.scores or any(not 0 <= each <= 1 for each in (*shares.values(), *found.probabilities)):
            raise ValueError("the calibration is damaged: rates and probabilities must be in 0..1")
        return found

    def unfit_for(self, images: int) -> str | None:
        """Why the threshold does not hold among so many images; None where it does.

        The nearest of more images is more alike, so that queries of unknown classes are accepted more often than was
        measured; among fewer they are accepted less often.
        """
        if images <= self.gallery:
            return None
        return (
            f"its threshold was chosen among {self.gallery:,} images; among {images:,}, more queries of unknown "
            "classes would be accepted"
        )
