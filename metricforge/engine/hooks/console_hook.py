"""The terminal output of a training run: one progress bar, and one line per epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook

from metricforge.atomic_write import write_atomically

LISTED = 20  # skipped images that are printed


def headline(scores: Mapping[str, float]) -> str:
    """Return one score of each kind, to fit a line: of recall@1, recall@2, ... the first."""
    kinds: dict[str, str] = {}
    for name, value in scores.items():
        kinds.setdefault(name.partition("@")[0], f"{name} {value:.4f}")
    return "  ".join(kinds.values())


class ConsoleHook(Hook):
    """Shows progress, reads the losses once per interval, and writes both to log file, history and visualizer."""

    priority = "BELOW_NORMAL"

    def __init__(self) -> None:
        self._bar = ExitStack()
        self._advance: Any = None
        self._started = 0.0
        self._losses: dict[str, list[float]] = {}
        self._line = ""
        self._rates: list[float] = []

    def before_train(self, runner: Any) -> None:
        runner.history.start(runner.iter)
        if runner.changes:
            runner.history.add_changes(runner.iter, runner.iter / len(runner.train_dataloader), runner.changes)

    def before_train_epoch(self, runner: Any) -> None:
        self._flush(runner)
        loop = runner.train_loop
        self._losses, self._started = {}, time.perf_counter()
        warmup = ", new layers only" if loop.epoch < loop.warmup_epochs else ""
        task = f"epoch {loop.epoch + 1}/{loop.max_epochs}{warmup}"
        done = loop.iter - loop.epoch * len(loop.dataloader)
        self._advance = self._bar.enter_context(runner.progress(task, len(loop.dataloader), done))

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self._advance(1)
        self._rates = runner.optim_wrapper.get_lr()["lr"]  # those of this update: the schedule goes on after it
        if (runner.iter + 1) % runner.train_loop.log_interval == 0:
            self._read(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Any) -> None:
        self._read(runner, runner.iter)
        self._bar.close()
        seconds = time.perf_counter() - self._started
        means = "  ".join(f"{name} {sum(v) / len(v):.4f}" for name, v in self._losses.items() if name == "loss")
        width = len(str(runner.max_epochs))
        self._line = f"epoch {runner.epoch + 1:>{width}}/{runner.max_epochs}  {means}  {seconds:5.1f} s"

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        seen = runner.validated_classes
        kind = "validation" if seen == "validation classes" else "TEST"
        self._line = f"{self._line + '  ' if self._line else ''}{kind} {headline(metrics or {})}"
        runner.logger.info("  ".join(f"{name} {value:.6f}" for name, value in (metrics or {}).items()))
        if runner.trains_now:  # a validation on its own is not part of the run
            runner.track(metrics or {}, step=runner.iter)
            runner.history.add_scores(runner.iter, runner.iter / len(runner.train_dataloader), metrics or {}, seen)
        self._flush(runner)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if not runner.trains_now:
            return
        shown = {f"test/{name}": value for name, value in (metrics or {}).items()}
        runner.logger.info("  ".join(f"{name} {value:.6f}" for name, value in shown.items()))
        runner.track(shown, step=runner.scored.iterations)
        epoch = runner.scored.iterations / len(runner.train_dataloader)
        runner.history.add_scores(runner.scored.iterations, epoch, metrics or {}, "test classes")

    def after_train(self, runner: Any) -> None:
        self._flush(runner)
        skipped = runner.train_dataloader.dataset.unreadable_images()
        if skipped:
            listed = runner.run_dir / "unreadable_images.txt"
            write_atomically(listed, "\n".join(skipped) + "\n")
            runner.say(f"{len(skipped):,} images could not be read and were skipped; all are listed in {listed}:")
            for path in skipped[:LISTED]:
                runner.say(f"  {path}")

    def after_run(self, runner: Any) -> None:
        self._bar.close()

    def _read(self, runner: Any, done: int) -> None:
        """Read the losses of the updates since the last reading; ``done`` counts the updates so far."""
        means = runner.losses.read()
        for name, value in means.items():
            self._losses.setdefault(name, []).append(value)
        if means:
            several = len(self._rates) > 1
            rates = {f"lr/{number}" if several else "lr": rate for number, rate in enumerate(self._rates)}
            runner.track(means | rates, step=done)
            runner.history.add_losses(done, done / len(runner.train_dataloader), self._rates, means)
            shown = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
            runner.logger.info(f"iteration {done}  lr {' '.join(f'{rate:.3g}' for rate in self._rates)}  {shown}")

    def _flush(self, runner: Any) -> None:
        if self._line:
            runner.say(self._line)
            self._line = ""
