"""Whether a loss takes what a miner yields."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.interfaces import Loss, Miner
from metricforge.registry import MINERS
from metricforge.tuple_fit import tuples_misfit


def compatibility_faults(miner: type[Miner] | None, loss: type[Loss] | None, path: str = "model") -> list[str]:
    """Why ``miner`` and ``loss`` cannot work together, one message a fault; empty if they can."""
    if loss is None:
        return []
    if miner is None:
        if loss.needs_miner:
            accepted = " or ".join(kind.__name__ for kind in loss.accepts)
            fitting = [name for name in MINERS.names() if issubclass(MINERS.get(name).yields, loss.accepts)]
            return [f"{path}.miner: {loss.__name__} needs a miner that yields {accepted}; take one of {fitting}"]
        return []
    misfit = tuples_misfit(miner, loss)
    if misfit is None:
        return []
    fitting = [name for name in MINERS.names() if issubclass(MINERS.get(name).yields, loss.accepts)]
    way_out = f"take one of the miners {fitting}" if fitting else "leave the miner out (miner=None)"
    return [f"{path}.miner: {misfit}; {way_out}"]


def list_compatibility_faults(
    miner: type[Miner] | None, losses: Sequence[tuple[type[Loss], type[Miner] | None]], path: str = "model"
) -> list[str]:
    """Why the losses of a list, each with its own miner or None, cannot work with the model's ``miner``.

    A loss without a miner of its own takes the tuples of the model's; one that takes no tuples at all does without.
    """
    faults = []
    for number, (loss, own) in enumerate(losses):
        if own is not None or miner is None or not loss.accepts:
            faults += compatibility_faults(own, loss, f"{path}.loss[{number}]")
            continue
        misfit = tuples_misfit(miner, loss)
        if misfit is not None:
            faults.append(
                f"{path}.loss[{number}]: the model's {misfit}; give it a miner of its own: {path}.loss[{number}].miner"
            )
    if miner is not None and not any(own is None and loss.accepts for loss, own in losses):
        faults.append(f"{path}.miner: none of the losses takes tuples from {miner.__name__}; leave it out (miner=None)")
    return faults
