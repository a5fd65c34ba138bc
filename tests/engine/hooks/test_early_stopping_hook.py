"""A training ends after as many validations without a better one as it was told, resumed or not."""

from __future__ import annotations

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.hooks.early_stopping_hook import EarlyStoppingHook
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError
from metricforge.run_records.checkpoint_files import checkpoint_files


class _Runner:
    """As much of a runner as the hook sees."""

    trains_now = True

    def __init__(self):
        self.train_loop = self
        self.stop_training = False
        self.said = []

    def say(self, text):
        self.said.append(text)


def stops_after(scores, **arguments):
    """How many of ``scores`` are seen before the training ends; None if it goes on."""
    hook, runner = EarlyStoppingHook(**arguments), _Runner()
    for number, score in enumerate(scores, start=1):
        hook.after_val_epoch(runner, {"recall@1": score})
        if runner.stop_training:
            return number
    return None


@pytest.mark.parametrize(
    ("scores", "arguments", "expected"),
    [
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], dict(patience=3), 7),
        ([0.5, 0.5, 0.5], dict(patience=2), 3),  # an equal score is no better one
        ([0.5, 0.501, 0.502, 0.503], dict(patience=2), None),
        ([0.5, 0.51, 0.52, 0.53], dict(patience=2, min_delta=0.015), None),  # 0.52 is 0.02 above the best, 0.5
        ([0.5, 0.51, 0.515], dict(patience=2, min_delta=0.02), 3),
        ([3.0, 2.0, 1.0, 1.5, 1.5], dict(rule="less", patience=2), 5),
        ([0.5, 0.91, 0.95], dict(stopping_threshold=0.9), 2),
        ([float("nan")] * 3, dict(patience=2), 3),
        ([0.5, float("nan"), float("nan")], dict(patience=2), 3),
    ],
)
def test_patience_counts_the_validations_without_a_better_one(scores, arguments, expected):
    assert stops_after(scores, **arguments) == expected


@pytest.mark.parametrize("arguments", [dict(patience=0), dict(min_delta=-1.0), dict(rule="more")])
def test_values_that_cannot_be_are_refused_by_name(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        EarlyStoppingHook(**arguments)


def test_the_count_of_a_validation_on_its_own_is_not_the_training_s():
    hook, runner = EarlyStoppingHook(patience=1), _Runner()
    runner.trains_now = False
    for _ in range(3):
        hook.after_val_epoch(runner, {"recall@1": 0.1})
    assert not runner.stop_training


def test_a_resumed_run_has_waited_as_long_as_the_one_that_was_stopped(tiny_config, tmp_path):
    tiny_config |= dict(
        validation="test",
        train_cfg=dict(max_epochs=9, log_interval=2),
        custom_hooks=[dict(type="EarlyStoppingHook", patience=3, min_delta=2.0)],  # which no score is better by
        checkpoint=dict(interval=1, max_keep=9),
    )

    def train(folder, resume=False):
        runner = build_runner(tiny_config, work_dir=tmp_path / folder, device="cpu", resume=resume)
        runner.train()
        return runner

    assert train("whole").epoch == 4
    for folder in ("whole", "cut"):  # the same run, cut after its second validation
        if folder == "cut":
            (tmp_path / "whole").rename(tmp_path / "cut")
    expected = load_checkpoint(tmp_path / "cut" / "iter_24.pth")
    for late in ("iter_24.pth", "iter_18.pth"):
        (tmp_path / "cut" / late).unlink()
    resumed = train("cut", resume=True)
    assert resumed.epoch == 4, "mmengine's waits for three validations more"
    again = load_checkpoint(checkpoint_files(tmp_path / "cut")[0])
    assert again["early_stopping"] == expected["early_stopping"]
    assert again["early_stopping"]["recall@1"]["wait_count"] == 2  # the file is written before the last validation
    for name, weight in expected["state_dict"].items():
        assert torch.equal(weight, again["state_dict"][name]), name


def test_a_score_that_no_evaluator_gives_is_refused_before_training(tiny_config, tmp_path):
    tiny_config |= dict(validation="test", custom_hooks=[dict(type="EarlyStoppingHook", monitor="recall@3")])
    with pytest.raises(ConfigError, match=r"EarlyStoppingHook.monitor: no evaluator gives the score 'recall@3'"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")
