"""Ends a training after a given time, with its schedule at its end."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import ParamSchedulerHook

from metricforge.engine.loops.time_budget import TimeBudget


class TimeBudgetHook(ParamSchedulerHook):
    """Steps the schedules of a run as its ``TimeBudget`` says, and ends it after the last update that fits.

    It takes the place of mmengine's ParamSchedulerHook. With several processes the clock of process 0 counts.

    Args:
        minutes: what training and validations may take, above 0.
    """

    clock = staticmethod(time.monotonic)

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.budget: TimeBudget | None = None
        self._stepped = 0
        self._loaded: dict[str, Any] | None = None

    def before_train(self, runner: Any) -> None:
        loop, wrapper = runner.train_loop, runner.optim_wrapper
        self.budget = TimeBudget(
            60 * self.minutes, loop.max_iters, len(loop.dataloader), wrapper._accumulative_counts, self.clock
        )
        if self._loaded is not None:
            self.budget.load_state_dict(self._loaded)
        self._stepped = self.budget.position(runner.iter) if runner.iter else 0
        loop.budget = self.budget
        loop.stop_training = 0 < self.budget.end <= runner.iter
        self.budget.start()

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        assert self.budget is not None
        done = runner.iter + 1
        self.budget.note(done)
        if done % runner.train_loop.log_interval == 0 or done % self.budget.per_epoch == 0:
            self._revise(runner, done)
        target = self.budget.position(done)
        while self._stepped < target:
            self._stepped += 1
            self._step(runner, by_epoch=False)
            if self._stepped % self.budget.per_epoch == 0:
                self._step(runner, by_epoch=True)
        if done >= self.budget.end:
            runner.train_loop.stop_training = True

    def after_train_epoch(self, runner: Any) -> None:
        """Nothing: schedules by epoch are stepped where an epoch of theirs ends."""

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if self.budget is not None:
            checkpoint["time_budget"] = self.budget.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self._loaded = checkpoint.get("time_budget")

    def _revise(self, runner: Any, done: int) -> None:
        budget = self.budget
        assert budget is not None

        def plan() -> dict[str, Any] | None:
            return budget.state_dict() if budget.revise(done) else None

        state = runner.processes.from_main(plan)
        if state is None:
            return
        if not runner.processes.is_main:
            budget.load_state_dict(state)
            budget.start()
        epochs, most = budget.end / budget.per_epoch, runner.max_epochs
        runner.logger.info(f"time budget: {budget.end} updates, {budget.used:.0f} s used")
        if budget.end < budget.updates:
            runner.say(f"budget   {epochs:.3g} of {most} epochs fit into {self.minutes:g} min; the schedule follows")

    def _step(self, runner: Any, *, by_epoch: bool) -> None:
        for scheduler in runner.param_schedulers or []:
            if scheduler.by_epoch == by_epoch:
                scheduler.step()
