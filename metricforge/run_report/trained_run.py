"""A run as its history has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

MOST_POINTS = 600  # of a line: more than a screen is wide shows nothing more
Entry = TypeVar("Entry")


class TrainedRun(Protocol):
    """What curves are drawn of: a run that has ended, or one that is followed."""

    @property
    def name(self) -> str:
        """What the page calls it."""

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """Its lines of losses, scores and diagnostics, oldest first."""


def thinned(entries: Sequence[Entry]) -> Sequence[Entry]:
    """At most ``MOST_POINTS`` of ``entries``, evenly spaced, the last one among them."""
    step = -(-len(entries) // MOST_POINTS)
    return entries if step <= 1 else entries[(len(entries) - 1) % step :: step]
