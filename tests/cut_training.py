"""Stops a training as Ctrl-C does, after a number of updates."""

from __future__ import annotations

import pytest


def cut_after(runner, updates: int) -> None:
    """Train until ``updates`` are done."""
    steps, original = iter(range(updates)), runner.model.train_step

    def step_until_cut(*args, **kwargs):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    runner.model.train_step = step_until_cut
    with pytest.raises(KeyboardInterrupt):
        runner.train()
