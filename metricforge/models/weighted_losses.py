"""Several losses of one batch as one: their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.component_arguments import accepted_arguments, is_component
from metricforge.functional.embedding_checks import check_at_least
from metricforge.interfaces import Loss, Miner, Similarity
from metricforge.registry import LOSSES, MINERS
from metricforge.structures import LossOutput, Tuples


class WeightedLosses(Loss):
    """The sum of ``weight`` times each loss, of the same embeddings and labels.

    A loss with a miner of its own gets its tuples; another gets those that the model's miner yields, if it accepts
    them, or else the whole batch.

    Parts: of each loss its total, unweighted, under its class's name (a second of the same class as ``TripletLoss_2``),
    and its own parts as ``TripletLoss/active``.

    Args:
        losses: at least one.
        weights: one a loss, each a number > 0.
        miners: one a loss, or None.

    Raises:
        ValueError: for another weight.
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float], miners: Sequence[Miner | None]) -> None:
        super().__init__()
        for number, weight in enumerate(weights):
            check_at_least(f"[{number}].weight", weight, 0, open_end=True)
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(float(weight) for weight in weights)
        self.miners = nn.ModuleDict({str(at): miner for at, miner in enumerate(miners) if miner is not None})
        self.names = _names([type(loss).__name__ for loss in losses])

    @classmethod
    def from_config(cls, cfgs: Sequence[Mapping[str, Any]], path: str, **derived: Any) -> WeightedLosses:
        """Build the losses of ``cfgs``, each ``dict(type=..., weight=1.0, miner=None, ...)``."""
        losses, miners = [], []
        for number, cfg in enumerate(cfgs):
            alone, miner = split_entry(cfg)
            losses.append(LOSSES.build(alone, path=f"{path}[{number}]", **derived))
            miners.append(MINERS.build(miner, path=f"{path}[{number}].miner", **derived) if miner else None)
        return cls(losses, [cfg.get("weight", 1.0) for cfg in cfgs], miners)

    def types_with_miners(self) -> list[tuple[type[Loss], type[Miner] | None]]:
        """The class of each loss, and of its own miner."""
        found: list[tuple[type[Loss], type[Miner] | None]] = []
        for number, loss in enumerate(self.losses):
            miner = self._own_miner(number)
            assert isinstance(loss, Loss)
            found.append((type(loss), None if miner is None else type(miner)))
        return found

    def describe(self) -> str:
        """Name the losses, each with its weight."""
        return " + ".join(f"{weight:g} {name}" for weight, name in zip(self.weights, self.names, strict=True))

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        total = embeddings.new_zeros((), dtype=torch.promote_types(embeddings.dtype, torch.float32))
        parts: dict[str, Tensor] = {}
        for number, (name, weight, loss) in enumerate(zip(self.names, self.weights, self.losses, strict=True)):
            loss.batch_ids = self.batch_ids  # type: ignore[assignment]
            output = loss(embeddings, labels, self._tuples(number, embeddings, labels, tuples, similarity), similarity)
            total = total + weight * output.total
            parts[name] = output.total.detach()
            parts |= {f"{name}/{part}": value for part, value in output.parts.items()}
        return LossOutput(total, parts)

    def _tuples(
        self, number: int, embeddings: Tensor, labels: Tensor, given: Tuples | None, similarity: Similarity | None
    ) -> Tuples | None:
        miner = self._own_miner(number)
        if miner is not None:
            with torch.no_grad():
                mined: Tuples = miner(embeddings.detach(), labels, similarity)
            return mined
        loss = self.losses[number]
        assert isinstance(loss, Loss)
        return given if isinstance(given, loss.accepts) else None

    def _own_miner(self, number: int) -> Miner | None:
        miner = dict(self.miners.named_children()).get(str(number))
        assert miner is None or isinstance(miner, Miner)
        return miner

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Leave it to each loss to say that a batch had nothing for it."""
        return True

    @property
    def predict(self) -> Any:
        """The classifier of the first loss that is one; an AttributeError where none is."""
        for loss in self.losses:
            if hasattr(loss, "predict"):
                return loss.predict
        raise AttributeError("none of the losses scores the training classes")

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def _names(classes: Sequence[str]) -> list[str]:
    """The class names, numbered from the second of a kind on."""
    earlier = [classes[:at].count(name) for at, name in enumerate(classes)]
    return [f"{name}_{before + 1}" if before else name for name, before in zip(classes, earlier, strict=True)]


def split_entry(cfg: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The loss's own config of an entry of the list, and its miner's, unless the loss takes a miner itself."""
    arguments = accepted_arguments(LOSSES.get(cfg["type"])) if cfg["type"] in LOSSES else None
    taken = {"weight"} if "miner" in (arguments or {}) else {"weight", "miner"}
    alone = {key: value for key, value in cfg.items() if key not in taken}
    return alone, cfg.get("miner") if "miner" in taken else None


def is_loss_list(cfg: Any) -> bool:
    """Whether ``cfg`` is a list of losses, at least one, rather than one loss."""
    return isinstance(cfg, Sequence) and not isinstance(cfg, str) and len(cfg) > 0


def loss_list_faults(cfgs: Sequence[Any], path: str, derived: Mapping[str, Any]) -> list[str]:
    """Everything wrong with the ``cfgs`` of a list of losses that can be seen without building them."""
    faults = []
    for number, cfg in enumerate(cfgs):
        where = f"{path}[{number}]"
        if not is_component(cfg):
            faults.append(f"{where}: {cfg!r} must be a dict with a type, such as dict(type='TripletLoss', weight=0.5)")
            continue
        alone, miner = split_entry(cfg)
        faults += LOSSES.faults(alone, where, derived)
        try:
            check_at_least(f"{where}.weight", cfg.get("weight", 1.0), 0, open_end=True)
        except ValueError as fault:
            faults.append(f"{fault}; leave a loss that is to count nothing out of the list")
        if miner:
            faults += MINERS.faults(miner, f"{where}.miner", derived)
    return faults


def loss_list_types(cfgs: Sequence[Any]) -> list[tuple[type[Loss], type[Miner] | None]]:
    """The classes that ``cfgs`` name, of each loss and of its own miner; empty where one is not registered."""
    found: list[tuple[type[Loss], type[Miner] | None]] = []
    for cfg in cfgs:
        if not is_component(cfg) or cfg["type"] not in LOSSES:
            return []
        miner = split_entry(cfg)[1]
        if miner and not (is_component(miner) and miner["type"] in MINERS):
            return []
        found.append((LOSSES.get(cfg["type"]), MINERS.get(miner["type"]) if miner else None))
    return found
