"""The training loop: epochs that can be resumed at any iteration, bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from metricforge.engine.distributed.data_parallel_step import SharedStep
from metricforge.engine.distributed.process_watch import current_watch
from metricforge.engine.distributed.sharded_parameters import find_row_shards
from metricforge.engine.loading.data_loading import SeededBatches, release_workers
from metricforge.engine.loading.seeding import derive_seed, seed_all, seed_host
from metricforge.engine.loops.time_budget import TimeBudget
from metricforge.engine.optim.autocast_optim_wrapper import Precision
from metricforge.engine.optim.gradient_watch import GradientWatch
from metricforge.engine.records.nan_guard import refuse_non_finite_state
from metricforge.errors import ConfigError
from metricforge.models import MetricLearner


class ResumableTrainLoop(BaseLoop):
    """Trains, validates, scores the test, and derives every seed: a resumed run equals an uninterrupted one.

    Before each update the global generators are seeded from (seed, epoch, iteration): dropout and random miners draw
    the same however the run got there, and validation may draw anything.

    Args:
        runner: the runner this loop belongs to.
        dataloader: its batches come from ``SeededBatches``.
        max_epochs: number of epochs, including warm-up.
        warmup_epochs: number of epochs at the start that train only the new parameters (all but the backbone's).
        val_interval: epochs between two validations; the last epoch is always validated. 0: never validate, and score
            no test at the end.
        log_interval: iterations between two readings of the losses.
        chunk: how many images a process embeds at once (``GradientCache``): a batch of any size in the memory of that
            many, for up to half as much time again; None: all of its share.
        batch_norm_per_chunk: that BatchNorm is to use the statistics of each chunk, which is another network than in
            one piece; needed with ``chunk`` where BatchNorm is trained (not frozen).
        sync_batch_norm: with several processes, whether BatchNorm uses the statistics of the whole batch (GPUs only)
            instead of those of the process's own images.
        precision: in what the forward pass of an update computes: "fp32", or "bf16" or "fp16" where that is safe
            (autocast; weights, loss and evaluation stay float32, and for "fp16" the loss is scaled).
        compile: compile the backbone for updates (``torch.compile``); the first takes up to some minutes.
        channels_last: keep images and the backbone's convolutions with channels innermost in updates.
        max_minutes: what training and validations may take; the schedule is gone through faster where fewer than
            ``max_epochs`` fit (``TimeBudget``). The test at the end is not counted. None: any time.
        shard_backbone: with several processes, whether each keeps only a share of the backbone's weights, gradients and
            optimizer state (torch's FSDP2) and gathers a block's weights when it computes: for a backbone beyond one
            device's memory. The update is the same. Any number of processes loads the checkpoints.
        hang_seconds: with several processes, how long an update, its batch included, may keep the others waiting before
            the process counts as hanging and all end; more than 0.

    Evaluation knows none of these switches: a checkpoint scores what training said. ``check_chunk`` and
    ``check_step_switches`` have refused what this model, batch or device cannot follow when the run was built.

    With several processes, each update is that of one process with all their images, but for BatchNorm and for what the
    embedding draws at random (dropout).

    Raises:
        ConfigError: for ``sync_batch_norm`` on the CPU.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader[dict[str, Any]],
        max_epochs: int,
        warmup_epochs: int = 0,
        val_interval: int = 1,
        log_interval: int = 10,
        sync_batch_norm: bool = False,
        chunk: int | None = None,
        batch_norm_per_chunk: bool = False,
        precision: Precision = "fp32",
        compile: bool = False,  # noqa: A002  # the name that torch and a config have for it
        channels_last: bool = False,
        max_minutes: float | None = None,
        shard_backbone: bool = False,
        hang_seconds: float = 600.0,
    ) -> None:
        super().__init__(runner, dataloader)
        self.processes = runner.processes
        self.chunk = chunk
        self.channels_last = channels_last
        runner.model.compile_updates(compile)
        self.max_minutes = max_minutes
        self.budget: TimeBudget | None = None  # which TimeBudgetHook keeps
        self.shard_backbone = shard_backbone  # the runner did it, before the optimizer was made
        self.hang_seconds = hang_seconds
        if sync_batch_norm and self.processes.several:
            if runner.device.type == "cpu":
                raise ConfigError(
                    ["train_cfg.sync_batch_norm: torch supports it on GPUs only; leave it out on the CPU"]
                )
            for name in ("backbone", "head"):
                part = getattr(runner.model, name)
                part = torch.nn.SyncBatchNorm.convert_sync_batchnorm(part)  # type: ignore[no-untyped-call]
                setattr(runner.model, name, part)
        self.max_epochs = max_epochs
        self.max_iters = max_epochs * len(dataloader)
        self.warmup_epochs = warmup_epochs
        self.val_interval = val_interval
        self.val_begin = 1
        self.log_interval = log_interval
        self.stop_training = False
        self._epoch = 0
        self._iter = 0
        self._shared: SharedStep | None = None
        self._watched_epoch = -1
        self.last_ids = torch.empty(0, dtype=torch.int64)
        self.checks_every_update = False  # a GPU would wait in each one

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Completed updates in all epochs together."""
        return self._iter

    def set_position(self, iteration: int) -> None:
        """Resume after ``iteration`` updates."""
        self._iter = iteration
        self._epoch = iteration // len(self.dataloader)

    def settle(self) -> None:
        """Make the model the same on all processes, before it is saved or evaluated."""
        if self._shared is not None:
            self._shared.settle()

    def run(self) -> torch.nn.Module:
        """Train to the end and return the model with the chosen weights, those that the test was scored with."""
        if self.processes.several:
            self._shared = SharedStep(self.runner.model, self.processes, find_row_shards(self.runner.model))
        self.runner.call_hook("before_train")
        # the first whole epoch in which all parameters are trained; a resumed run may be past it
        part = self._iter > self._epoch * len(self.dataloader)
        self._watched_epoch = max(self.warmup_epochs, self._epoch + part) if self._epoch <= self.warmup_epochs else -1
        if self._iter and self._iter == self._epoch * len(self.dataloader):
            self._validate()  # the run may have been killed between the epoch's checkpoint and its validation
        elif self.stop_training:
            self._validate()  # it ended within an epoch, by its time budget
        try:
            while self._epoch < self.max_epochs and not self.stop_training:
                self._run_epoch()
                self._validate()
        finally:
            release_workers(self.dataloader)  # a runner may be kept long after it has trained
        if self._shared is not None:
            self._shared.close()
        self.runner.call_hook("after_train")
        if self.val_interval:
            self.runner.take_chosen_weights()
            self.runner.test_loop.run()
        return self.runner.model

    def _validate(self) -> None:
        ends = self._epoch == self.max_epochs or self.stop_training
        due = self.val_interval and (self._epoch % self.val_interval == 0 or ends)
        if due and self.runner.val_loop is not None:
            self.settle()
            self.runner.val_loop.run()

    def _run_epoch(self) -> None:
        model = self.runner.model
        assert isinstance(model, MetricLearner)
        model.train()
        self._store(model, torch.channels_last)
        first = self._iter - self._epoch * len(self.dataloader)
        batches = self.dataloader.batch_sampler
        assert isinstance(batches, SeededBatches)
        batches.set_position(self._epoch, first)
        watch = GradientWatch(model) if self._watched_epoch == self._epoch else None
        try:
            self.runner.call_hook("before_train_epoch")
            self._watch_update(self.hang_seconds)
            for number, batch in enumerate(self.dataloader, start=first):
                self._run_iteration(number, batch)
                self._watch_update(self.hang_seconds)
                if self.stop_training:
                    break
            self._watch_update(None)
            is_whole = self._iter == (self._epoch + 1) * len(self.dataloader)  # a hook may stop within an epoch
            if watch is not None and not is_whole:
                watch.stop()
            elif watch is not None and watch.report():
                self.runner.logger.info("some parameters got no gradient in their first epoch; the warning names them")
            self.runner.call_hook("after_train_epoch")
        finally:
            model.eval()
            self._store(model, torch.contiguous_format)
        if is_whole:
            self._epoch += 1

    def _store(self, model: MetricLearner, order: torch.memory_format) -> None:
        if self.channels_last:
            model.backbone.to(memory_format=order)  # type: ignore[call-overload]

    def _watch_update(self, limit: float | None) -> None:
        watch = current_watch()
        if watch is not None:
            watch.update(self._iter, limit)

    def _run_iteration(self, number: int, batch: dict[str, Any]) -> None:
        if self.processes.several:
            # images are this process's share; labels and ids are those of the whole batch
            labels, ids = self.processes.gather_columns(torch.stack([batch["label"], batch["id"]]))  # (B,) each
            batch = batch | {"label": labels, "id": ids}
        self.runner.call_hook("before_train_iter", batch_idx=number, data_batch=batch)
        scheduled = self._iter if self.budget is None else self.budget.position(self._iter)
        self.runner.model.train_backbone = scheduled >= self.warmup_epochs * len(self.dataloader)
        # on a CPU nothing is drawn on other devices, and seeding these formats the stack each time
        seed_update = seed_host if self.runner.device.type == "cpu" else seed_all
        seed_update(derive_seed(self.runner.seed, self._epoch, number))
        # of a batch in chunks only one chunk is on the device at a time
        moved = ("image", "label") if self.chunk is None else ("label",)
        given = batch | {key: batch[key].to(self.runner.device, non_blocking=True) for key in moved}
        in_chunks = {} if self.chunk is None else {"chunk": self.chunk}
        outputs = self.runner.model.train_step(
            given, optim_wrapper=self.runner.optim_wrapper, shared=self._shared, **in_chunks
        )
        self.runner.losses.add(self._epoch, self._iter, batch["id"], outputs)
        self.runner.losses.note_gradient(self.runner.model.largest_gradient)
        self.last_ids = batch["id"]  # (B,)
        if self.checks_every_update:
            self.runner.losses.check()
            refuse_non_finite_state(self.runner.model, self._epoch, self._iter + 1, self.processes.gather_values)
        self.runner.call_hook("after_train_iter", batch_idx=number, data_batch=batch, outputs=outputs)
        self._iter += 1
