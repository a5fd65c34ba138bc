"""Scores untrained models on the same images in the same run, as baselines for the trained embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from metricforge.engine.hooks.console_hook import headline
from metricforge.models import MetricLearner


class BaselineHook(Hook):
    """Scores the test classes with each of ``baselines`` (name -> config of a model without a loss) before training.

    Nothing is chosen by these scores, so they do not count as looks at the test classes.
    """

    def __init__(self, baselines: Mapping[str, Mapping[str, Any]]) -> None:
        self.baselines = baselines

    def before_train(self, runner: Any) -> None:
        for name, cfg in self.baselines.items():
            if name in runner.baseline_scores:
                continue  # a resumed run already has them
            model = MetricLearner.from_config(cfg, None, path=f"baselines.{name}").to(runner.device)
            scores, *_ = runner.test_loop.score(model, f"baseline {name}")
            runner.baseline_scores[name] = scores
            runner.say(f"baseline {name}  {headline(scores)}")
