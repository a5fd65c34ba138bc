"""Whether a loss takes the tuples that a miner yields."""

from __future__ import annotations

from metricforge.interfaces import Loss, Miner


def tuples_misfit(miner: type[Miner], loss: type[Loss]) -> str | None:
    """Why ``loss`` cannot take what ``miner`` yields, in words; None if it can."""
    if issubclass(miner.yields, loss.accepts):
        return None
    accepted = " or ".join(kind.__name__ for kind in loss.accepts) or "no tuples at all"
    return f"{miner.__name__} yields {miner.yields.__name__}, but {loss.__name__} accepts {accepted}"
