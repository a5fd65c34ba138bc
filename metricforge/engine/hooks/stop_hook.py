"""Ends a training between two updates once a signal has asked for it."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from metricforge.errors import TrainingStopped


class StopHook(Hook):
    """Raises ``TrainingStopped`` after the update, or in the validation, in which a signal arrived.

    ``MetricRunner.train`` saves then. Several processes end after the same update, whichever of them got the signal; a
    validation of theirs is finished first, because each waits for the others in it, but no hook counts it: a resumed
    run validates again. ``before_val_scores`` and ``after_val_scores`` are points of ``EvaluationLoop``'s own.
    """

    priority = "LOWEST"

    def before_train_epoch(self, runner: Any) -> None:
        runner.stop_signals.ends_at_once = False

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        # at the end of an epoch its schedule has yet to move on: after_train_epoch looks then
        if (runner.iter + 1) % len(runner.train_dataloader):
            self._stop_if_asked(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Any) -> None:
        self._stop_if_asked(runner, runner.iter)

    def before_val_scores(self, runner: Any) -> None:
        self._let_end_at_once(runner)

    def after_val_scores(self, runner: Any) -> None:
        runner.stop_signals.ends_at_once = False
        if runner.trains_now:
            self._stop_if_asked(runner, runner.iter)

    def after_train(self, runner: Any) -> None:
        self._let_end_at_once(runner)  # in the readout and the test

    def _let_end_at_once(self, runner: Any) -> None:
        if runner.trains_now:
            runner.stop_signals.ends_at_once = not runner.processes.several
            self._stop_if_asked(runner, runner.iter)

    def _stop_if_asked(self, runner: Any, iteration: int) -> None:
        signals = runner.stop_signals
        if runner.processes.any_has(signals.received is not None):
            signals.ends_at_once = False
            raise TrainingStopped(signals.received or "a signal to another process", iteration)
