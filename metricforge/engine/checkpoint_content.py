"""What a checkpoint of a training holds: everything that decides how it goes on."""

from __future__ import annotations

from typing import Any

import torch

from metricforge.backbones.pretraining import pretraining_of
from metricforge.engine.loops.calibrate_context import calibrate_context
from metricforge.engine.records.checkpoints import FORMAT
from metricforge.errors import EmbeddingsError
from metricforge.version import __version__


def checkpoint_content(runner: Any, iteration: int, *, best: bool) -> dict[str, Any]:
    """Collect what the runner has after ``iteration`` updates; ``best`` says that no weights were better so far."""
    batches = len(runner.train_dataloader)
    content: dict[str, Any] = {
        "meta": {
            "format": FORMAT,
            "iteration": iteration,
            "epoch": iteration // batches,
            "batches_per_epoch": batches,
            "seed": runner.seed,
            "num_classes": runner.num_classes,
            "class_names": list(runner.train_dataloader.dataset.dataset.class_names),
            "choice": runner.choice.of_best_epoch() if best else _choice_by_hand(runner, iteration),
            "candidates": runner.choice.state_dict(),
            "calibration": _calibration(runner) if best else None,
            "baselines": runner.baseline_scores,
            "settings": runner.settings,
            "config": runner.cfg.pretty_text,
            "pretraining": pretraining_of(runner.cfg.model.backbone),
            "metricforge": __version__,
            "torch": torch.__version__,
        },
        "state_dict": runner.model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "param_schedulers": [_plain_state(scheduler) for scheduler in runner.param_schedulers or []],
    }
    if iteration % runner.optim_wrapper._accumulative_counts:
        content["gradients"] = {n: p.grad for n, p in runner.model.named_parameters() if p.grad is not None}
    return content


def _plain_state(scheduler: Any) -> dict[str, Any]:
    """The state of ``scheduler`` without its functions, such as OneCycleLR's: no file may hold code."""
    return {name: value for name, value in scheduler.state_dict().items() if not callable(value)}


def _choice_by_hand(runner: Any, iteration: int) -> dict[str, object]:
    """How one comes to score the weights after ``iteration`` updates."""
    if iteration == runner.train_loop.max_iters or runner.train_loop.stop_training:
        return runner.choice.of_last_epoch()  # type: ignore[no-any-return]
    return {"weights": f"epoch {iteration / len(runner.train_dataloader):g}, by hand", "by": None}


def _calibration(runner: Any) -> dict[str, Any] | None:
    """What the last validation tells of the similarities of unknown classes; None where it cannot."""
    context = runner.val_loop.context
    if not runner.processes.is_main or context is None or runner.validated_classes == "test classes":
        return None
    try:
        return calibrate_context(context).to_json()
    except EmbeddingsError as fault:
        runner.logger.info(f"not calibrated: {fault}")
        return None
