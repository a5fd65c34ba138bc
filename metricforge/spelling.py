"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(name: object, known: Sequence[str], shown: Sequence[str] | None = None) -> str:
    """``; did you mean "TripletLoss"? (known: ...)``: the way out that every misspelling gets.

    Args:
        name: what was written.
        known: what would have been right.
        shown: what is said to be known, where ``known`` is too long; None for all of it.
    """
    return f"{guess(name, known)} (known: {', '.join(known if shown is None else shown) or 'none'})"


def guess(name: object, known: Sequence[str]) -> str:
    """``; did you mean "TripletLoss"?``, or nothing where none of ``known`` is near."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.6)
    return f'; did you mean "{lowered[close[0]]}"?' if close else ""
