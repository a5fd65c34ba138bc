"""Losses and miners inside another loss: of pytorch-metric-learning, of MetricForge, or of a third party."""

from __future__ import annotations

from torch import Tensor

from metricforge import Loss, Miner, Similarity, Tuples
from metricforge_pml.pml_miner import PMLMiner


def type_of(part: object) -> str:
    """Its type's name, with its module: a class of another package may have the same name."""
    return f"{type(part).__module__}.{type(part).__qualname__}".removeprefix("builtins.")


def check_fit(argument: str, miner: Miner | None, loss: Loss) -> None:
    """Raise ValueError, naming ``argument``, unless ``loss`` accepts what ``miner`` yields."""
    if miner is None or issubclass(miner.yields, loss.accepts):
        return
    accepted = " or ".join(kind.__name__ for kind in loss.accepts) or "no tuples at all"
    raise ValueError(
        f"{argument}: {type(miner).__name__} yields {miner.yields.__name__}, but {type(loss).__name__} accepts "
        f"{accepted}; {'take another miner' if loss.accepts else 'leave its miner out'}"
    )


def mine(argument: str, miner: Miner, embeddings: Tensor, labels: Tensor, similarity: Similarity | None) -> Tuples:
    """What ``miner`` chooses from a batch, without gradient.

    Raises:
        ValueError: naming ``argument``, where a miner that mines by the model's similarity is given none.
    """
    if isinstance(miner, PMLMiner):
        return miner.mine(embeddings.detach(), labels)
    if similarity is None:
        raise ValueError(
            f"{argument}: {type(miner).__name__} mines by the model's similarity; call the loss with it, as "
            "loss(embeddings, labels, similarity=...)"
        )
    return miner(embeddings.detach(), labels, similarity)
