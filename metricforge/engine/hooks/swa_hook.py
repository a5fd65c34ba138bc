"""Averages the weights of the last epochs, and gives BatchNorm the statistics of the average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metricforge.engine.loading.data_loading import SeededBatches
from metricforge.engine.loading.seeding import derive_seed, seed_all


@HOOKS.register_module(force=True)
class SWAHook(EMAHook):
    """Stochastic weight averaging (Izmailov et al. 2018): the equal mean of the weights after each of the last epochs.

    As with mmengine's EMAHook, the averaged weights are what is scored and what a checkpoint holds, and a resumed run
    goes on with both. The averaged network was never trained, so the running statistics of its BatchNorm layers are
    those of no network: after each epoch that is averaged, the epoch's batches are embedded once more to measure them,
    but for layers that are frozen. Until the first averaged epoch the weights are the trained ones.

    Keep the learning rate from falling to zero (``eta_min`` of a cosine): the average of weights that no longer move is
    these weights.

    Args:
        begin: the share of the epochs after which averaging begins, at least 0 and below 1.

    Raises:
        ValueError: for a share outside this range.
    """

    priority = "LOW"  # when the console's bar of the epoch is closed, and before a checkpoint is written

    def __init__(self, begin: float = 0.75) -> None:
        if not 0 <= begin < 1:
            raise ValueError(f"begin must be a share of the epochs, at least 0 and below 1, got {begin}")
        super().__init__(ema_type="StochasticWeightAverage")
        self.begin = begin

    def before_train(self, runner: Any) -> None:
        """Nothing to check: with ``begin`` below 1 there is an epoch to average."""

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: epochs are averaged."""

    def after_train_epoch(self, runner: Any) -> None:
        if runner.iter < (math.floor(self.begin * runner.max_epochs) + 1) * len(runner.train_dataloader):
            self.ema_model.module.load_state_dict(self.src_model.state_dict())  # which a validation swaps in
            return
        self.ema_model.update_parameters(self.src_model)
        if any(isinstance(module, _BatchNorm) for module in self.ema_model.module.modules()):
            self._measure_batch_norm(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if self.ema_model.steps > 0:
            super().before_save_checkpoint(runner, checkpoint)
            checkpoint["averaged_by"] = type(self).__name__

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if "ema_state_dict" in checkpoint:
            super().after_load_checkpoint(runner, checkpoint)
        else:
            self.ema_model.module.load_state_dict(checkpoint["state_dict"])

    def _measure_batch_norm(self, runner: Any) -> None:
        """Embed the epoch's batches by the averaged network, whose trained BatchNorm layers take their statistics."""
        averaged = self.ema_model.module
        averaged.train()
        moving = [m for m in averaged.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
        momenta = [module.momentum for module in moving]
        for module in moving:
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches
        batches = runner.train_dataloader.batch_sampler
        assert isinstance(batches, SeededBatches)
        batches.set_position(runner.epoch, 0)
        seed_all(derive_seed(runner.seed, runner.epoch))  # of dropout
        with torch.no_grad(), runner.progress("measuring BatchNorm", len(runner.train_dataloader)) as advance:
            for batch in runner.train_dataloader:
                averaged.embed_in_training(batch["image"].to(runner.device))
                advance(1)
        for module, momentum in zip(moving, momenta, strict=True):
            module.momentum = momentum
        averaged.eval()
        if runner.processes.several:
            for module in moving:
                for statistics in (module.running_mean, module.running_var):
                    assert statistics is not None
                    statistics /= runner.processes.world_size
                    dist.all_reduce(statistics)

    def _swap_ema_parameters(self) -> None:
        """Swap the weights and BatchNorm's statistics of both models; mmengine's leaves the statistics in place."""
        for averaged, trained in zip(_averaged(self.ema_model.module), _averaged(self.src_model), strict=True):
            kept = averaged.detach().clone()
            averaged.data.copy_(trained.data)
            trained.data.copy_(kept)


def _averaged(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            yield from module.buffers(recurse=False)
