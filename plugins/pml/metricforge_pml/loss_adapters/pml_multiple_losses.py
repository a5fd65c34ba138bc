"""The adapter of MultipleLosses: the weighted sum of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from metricforge import LOSSES, MINERS, Registry, Tuples
from metricforge_pml.index_tuples import IndexTuple, to_index_tuple
from metricforge_pml.pml_loss import PMLLoss
from metricforge_pml.pml_miner import PMLMiner


class _Total(nn.Module):
    """A loss of this package, called as one of pytorch-metric-learning is."""

    def __init__(self, loss: PMLLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None = None) -> Tensor:
        if indices is not None and not self.loss.accepts:
            raise ValueError(
                f"pml.{type(self.loss).__name__}, one of the losses, takes no tuples; leave the model's miner out, "
                "and give the other losses their own by the argument miners"
            )
        return self.loss.total(embeddings, labels, indices)


class _IndexTuple(nn.Module):
    """A miner of this package, called as one of pytorch-metric-learning is."""

    def __init__(self, miner: PMLMiner) -> None:
        super().__init__()
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> IndexTuple | None:
        return to_index_tuple(self.miner.mine(embeddings, labels))


class PMLMultipleLosses(PMLLoss):
    """The sum of ``losses`` of this package times ``weights``, each with its own of ``miners`` or with none.

    All three are lists of one length, or dicts with the same keys; None stands for no miner, and so does a key that
    ``miners`` has not. Which batches have nothing to say, each loss decides for itself.

    Raises:
        ValueError: as ``PMLLoss``, for losses or miners that are not of this package or not as many, for tuples beside
            ``miners``, and for tuples where one of the losses takes none.
    """

    nested: ClassVar[Mapping[str, Registry]] = {"losses": LOSSES, "miners": MINERS}
    compares_samples = False

    def __init__(self, losses: Any, miners: Any = None, weights: Any = None) -> None:
        named = _by_name("losses", losses)
        for name, loss in named.items():
            if not isinstance(loss, PMLLoss):
                raise ValueError(f'losses[{name!r}] must be one such as "pml.ArcFaceLoss", got {_type_of(loss)}')
        for argument, given in (("miners", miners), ("weights", weights)):
            names = named if given is None else _by_name(argument, given)
            left_out = {} if argument == "miners" and isinstance(given, Mapping) else named.keys() - names.keys()
            if left_out or names.keys() - named.keys():
                raise ValueError(
                    f"{argument} must have one for each of losses, whose keys or places are {list(named)}, "
                    f"got {list(names)}"
                )
        for name, miner in _by_name("miners", miners or []).items():
            if not (miner is None or isinstance(miner, PMLMiner)):
                raise ValueError(
                    f'miners[{name!r}] must be one such as "pml.BatchHardMiner" or None, got {_type_of(miner)}'
                )
        super().__init__(losses=_wrap(losses, _Total), miners=_wrap(miners, _IndexTuple), weights=weights)

    def totals(self) -> Iterable[_Total]:
        losses = self.wrapped.losses
        return losses.values() if self.wrapped.is_dict else losses

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        answer: Tensor | bool = False
        for total in self.totals():
            answer = total.loss.can_compare(labels, tuples) | answer
        return answer

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if indices is not None and self.wrapped.miners:
            raise ValueError("miners of its own and mined tuples exclude each other; leave the model's miner out")
        return super().call(embeddings, labels, indices)


def _type_of(part: object) -> str:
    """With its module: a loss of another package may have the same name."""
    return f"{type(part).__module__}.{type(part).__qualname__}".replace("builtins.", "")


def _by_name(argument: str, parts: Any) -> dict[Any, Any]:
    """A dict's parts by key, a list's by place."""
    if isinstance(parts, (list, tuple, Mapping)):
        return dict(parts) if isinstance(parts, Mapping) else dict(enumerate(parts))
    raise ValueError(f"{argument} must be a list or a dict, got {_type_of(parts)}")


def _wrap(parts: Any, wrapper: Callable[[Any], nn.Module]) -> Any:
    """``parts``, each in a ``wrapper``; None stays out of a dict, and None in a list."""
    if isinstance(parts, Mapping):
        return {key: wrapper(part) for key, part in parts.items() if part is not None}
    return parts and [part if part is None else wrapper(part) for part in parts]
