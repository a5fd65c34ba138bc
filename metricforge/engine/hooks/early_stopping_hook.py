"""Ends a training whose validation score no longer improves; a resumed run has waited as long as it had."""

from __future__ import annotations

import math
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class EarlyStoppingHook(Hook):
    """Ends the training after ``patience`` validations in a row that are no better than the best one before them.

    Takes the place of mmengine's, which begins to wait anew in a resumed run, counts an equal score as better, and by
    default asks for 0.1 more each time, of scores in 0..1. Best score and count are in the checkpoints here.

    Args:
        monitor: the score of a validation to go by; one that no evaluator gives is refused before training.
        rule: whether "greater" or "less" is better.
        patience: how many validations without a better one end the training, at least 1.
        min_delta: how much better than the best score a score has to be, at least 0.
        stopping_threshold: a score this good or better ends the training at once; None: none does.

    Raises:
        ValueError: for a value outside these ranges.
    """

    priority = "LOWEST"

    def __init__(
        self,
        monitor: str = "recall@1",
        rule: Literal["greater", "less"] = "greater",
        patience: int = 5,
        min_delta: float = 0.0,
        stopping_threshold: float | None = None,
    ) -> None:
        if rule not in ("greater", "less"):
            raise ValueError(f'rule must be "greater" or "less", got {rule!r}')
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise ValueError(f"min_delta must be at least 0, got {min_delta}")
        self.monitor = monitor
        self.sign = 1.0 if rule == "greater" else -1.0
        self.patience = patience
        self.min_delta = min_delta
        self.stopping_threshold = stopping_threshold
        self.wait_count = 0
        self.best_score: float | None = None

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if not runner.trains_now:  # a validation on its own is not part of the run
            return
        score = (metrics or {})[self.monitor]
        if self.best_score is None or self.sign * (score - self.best_score) > self.min_delta:
            self.best_score, self.wait_count = score, 0
        else:  # NaN too
            self.wait_count += 1
        why = None
        if self.stopping_threshold is not None and self.sign * (score - self.stopping_threshold) >= 0:
            why = f"{self.monitor} {score:.4f} reaches {self.stopping_threshold:g}"
        elif self.wait_count >= self.patience:
            why = f"{self.monitor} has not improved on {self.best_score:.4f} in {self.wait_count} validations"
        if why is not None and not runner.train_loop.stop_training:
            runner.train_loop.stop_training = True
            runner.say(f"stopped  {why}")

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        state = {"wait_count": self.wait_count, "best_score": self.best_score}
        checkpoint.setdefault("early_stopping", {})[self.monitor] = state

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("early_stopping", {}).get(self.monitor)
        if state is not None:
            self.wait_count, self.best_score = state["wait_count"], state["best_score"]
