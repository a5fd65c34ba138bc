"""The adapter of MultipleLosses: the weighted sum of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from metricforge import (
    LOSSES,
    MINERS,
    Loss,
    LossOutput,
    Miner,
    Pairs,
    Registry,
    Similarity,
    Triplets,
    Tuples,
    functional,
)
from metricforge_pml.loss_adapters.nested_parts import check_fit, mine, type_of


class PMLMultipleLosses(Loss):
    """The sum of ``losses`` times ``weights``, each with its own of ``miners`` or with none.

    All three are lists of one length, or dicts with the same keys; None stands for no miner, and so does a key that
    ``miners`` has not. Losses and miners may be of any package; MetricForge's get the model's similarity. Which batches
    have nothing to say, each loss decides for itself.

    Parts: ``<key>``, each loss before its weight, and ``<key>/<part>``, its own parts; the key of a list is a place.

    Raises:
        ValueError: for what are no losses or miners, or not as many, for a miner that does not fit its loss, for tuples
            beside ``miners``, for tuples where one of the losses takes none, or for one of MetricForge's miners without
            a similarity.
    """

    accepts: ClassVar[tuple[type, ...]] = (Pairs, Triplets)
    nested: ClassVar[Mapping[str, Registry]] = {"losses": LOSSES, "miners": MINERS}

    def __init__(self, losses: Any, miners: Any = None, weights: Any = None) -> None:
        super().__init__()
        named = _by_name("losses", losses)
        for name, loss in named.items():
            if not isinstance(loss, Loss):
                raise ValueError(f'losses[{name!r}] must be a loss, such as "pml.ArcFaceLoss", got {type_of(loss)}')
        for argument, given in (("miners", miners), ("weights", weights)):
            names = named if given is None else _by_name(argument, given)
            left_out = {} if argument == "miners" and isinstance(given, Mapping) else named.keys() - names.keys()
            if left_out or names.keys() - named.keys():
                raise ValueError(
                    f"{argument} must have one for each of losses, whose keys or places are {list(named)}, "
                    f"got {list(names)}"
                )
        chosen = {name: miner for name, miner in _by_name("miners", miners or []).items() if miner is not None}
        for name, miner in chosen.items():
            if not isinstance(miner, Miner):
                raise ValueError(
                    f'miners[{name!r}] must be a miner, such as "pml.BatchHardMiner", or None, got {type_of(miner)}'
                )
            check_fit(f"miners[{name!r}]", miner, named[name])
        self.losses = nn.ModuleDict({str(name): loss for name, loss in named.items()})
        self.miners = nn.ModuleDict({str(name): miner for name, miner in chosen.items()})
        self.weights = {str(name): weight for name, weight in _by_name("weights", weights or []).items()}

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        answer: Tensor | bool = False
        for _, loss in self.named_losses():
            answer = loss.can_compare(labels, tuples) | answer
        return answer

    def named_losses(self) -> Iterator[tuple[str, Loss]]:
        """The losses by key or place."""
        for name, loss in self.losses.items():
            assert isinstance(loss, Loss)
            yield name, loss

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        if tuples is not None and self.miners:
            raise ValueError("miners of its own and mined tuples exclude each other; leave the model's miner out")
        total = functional.in_float32(embeddings).new_zeros(())
        parts: dict[str, Tensor] = {}
        for name, loss in self.named_losses():
            output = loss(
                embeddings, labels, self._tuples(name, loss, embeddings, labels, tuples, similarity), similarity
            )
            total = total + output.total * self.weights.get(name, 1)
            parts[name] = output.total.detach()
            parts.update({f"{name}/{part}": value for part, value in output.parts.items()})
        return LossOutput(total, parts)

    def _tuples(
        self,
        name: str,
        loss: Loss,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None,
        similarity: Similarity | None,
    ) -> Tuples | None:
        if name in self.miners:
            miner = self.miners[name]
            assert isinstance(miner, Miner)
            return mine(f"miners[{name!r}]", miner, embeddings, labels, similarity)
        if tuples is not None and not isinstance(tuples, loss.accepts):
            accepted = " or ".join(kind.__name__ for kind in loss.accepts) or "no tuples"
            raise ValueError(
                f"{type(loss).__name__}, one of the losses, takes {accepted}, got {type(tuples).__name__}; leave the "
                "model's miner out, and give the losses their own by the argument miners"
            )
        return tuples


def _by_name(argument: str, parts: Any) -> dict[Any, Any]:
    """A dict's parts by key, a list's by place."""
    if isinstance(parts, (list, tuple, Mapping)):
        return dict(parts) if isinstance(parts, Mapping) else dict(enumerate(parts))
    raise ValueError(f"{argument} must be a list or a dict, got {type_of(parts)}")
