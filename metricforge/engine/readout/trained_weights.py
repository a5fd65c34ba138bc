"""The weights that a run has to choose among: its own, those before it, and what lies between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from metricforge.engine.readout.beginning import Beginning
from metricforge.engine.readout.candidate import BackboneWeights
from metricforge.engine.readout.mixed_weights import are_equal, interpolate, name_of_share, weighted_mean
from metricforge.engine.readout.readout_options import ReadoutOptions
from metricforge.engine.records.checkpoints import BEST, load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files


class TrainedWeights:
    """Reads a finished run's checkpoints: its chosen epoch's is the base of everything.

    Args:
        runner: of the run, whose training has ended.
        pretrained: the backbone's weights before it.
        options: which mixtures are wanted.
        beginning: what these weights are.
    """

    def __init__(
        self, runner: Any, pretrained: Mapping[str, Tensor], options: ReadoutOptions, beginning: Beginning
    ) -> None:
        self._folder: Path = runner.run_dir
        self.config: Config = runner.cfg
        self._pretrained = pretrained
        self._options = options
        name = BEST if runner.choice.iteration is not None else checkpoint_files(self._folder)[0].name
        self.checkpoint: dict[str, Any] = load_checkpoint(self._folder / name)
        self.frozen = BackboneWeights(beginning.weights, pretrained)
        self.base = self._of(self.checkpoint["state_dict"], beginning.trained)
        self.raw = f"{beginning.trained}, not averaged"
        self._shares = () if beginning.nothing_between else tuple(options.interpolations)
        averaged = "ema_state_dict" in self.checkpoint
        self.averaged_by: str | None = self.checkpoint.get("averaged_by", "EMAHook") if averaged else None

    @cached_property
    def backbone_is_frozen(self) -> bool:
        """Whether training left the backbone as it was."""
        return are_equal(self._pretrained, self.base.backbone)

    def candidates(self) -> Iterator[BackboneWeights]:
        """Each set of weights, the simpler ones first; made when it is asked for, to hold few in memory."""
        yield self.frozen
        yield self.base
        if self.averaged_by is not None:
            yield self.named(self.raw)
        if self._averaged_files():
            yield self.named(self._average_name)
        if not self.backbone_is_frozen:
            for share in self._shares:
                yield self.named(name_of_share(share))

    def named(self, name: str) -> BackboneWeights:
        """The weights of that name."""
        if name in (self.frozen.name, self.base.name):
            return self.frozen if name == self.frozen.name else self.base
        if name == self.raw:
            stored = self.checkpoint["ema_state_dict"]
            return self._of(self.checkpoint["state_dict"] | _without_prefix(stored, "module."), self.raw)
        if name == self._average_name:
            files = self._averaged_files()
            states = [self._of(load_checkpoint(file)["state_dict"], "") for file in files]
            shares = [1 / len(states)] * len(states)
            heads = [state.head or {} for state in states]
            return BackboneWeights(
                name, weighted_mean([each.backbone for each in states], shares), weighted_mean(heads, shares)
            )
        share = next(share for share in self._shares if name_of_share(share) == name)
        return BackboneWeights(name, interpolate(self.base.backbone, self._pretrained, share), self.base.head)

    @property
    def _average_name(self) -> str:
        return f"mean of {len(self._averaged_files())} checkpoints"

    def _averaged_files(self) -> list[Path]:
        """The checkpoints whose mean is a candidate: those that are there, each update once; none if it is one."""
        if not self._options.average:
            return []
        return self._distinct if len(self._distinct) > 1 else []

    @cached_property
    def _distinct(self) -> list[Path]:
        best = self._folder / BEST
        files = {int(file.stem.removeprefix("iter_")): file for file in checkpoint_files(self._folder)}
        if best.is_file():
            files.setdefault(self.checkpoint["meta"]["iteration"], best)
        return [files[number] for number in sorted(files)]

    def _of(self, state: Mapping[str, Tensor], name: str) -> BackboneWeights:
        # a backbone may keep what it does not train out of its checkpoints
        backbone = {**self._pretrained, **_without_prefix(state, "backbone.")}
        return BackboneWeights(name, backbone, _without_prefix(state, "head."))


def _without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of ``state`` below ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
