"""What lies beyond the end of a training is said, and what it comes to is not."""

from __future__ import annotations

import pytest

from metricforge import build_runner
from metricforge.engine.loops.never_comes import never_comes

STEPS = dict(type="MultiStepLR", gamma=0.1)
STOPS = dict(type="EarlyStoppingHook")
AVERAGES = dict(type="EMAHook")


def config(**parts):
    return {"train_cfg": {"max_epochs": 4}} | parts


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (dict(param_scheduler=[STEPS | dict(milestones=[2, 4])]), "param_scheduler[0].milestones: 4 of 4 epochs"),
        (dict(param_scheduler=STEPS | dict(milestones=[4, 9])), "param_scheduler[0].milestones: 4, 9 of 4 epochs"),
        (dict(param_scheduler=[STEPS | dict(milestones=[2], begin=2)]), "milestones: 2 after begin (2) of 4 epochs"),
        (dict(param_scheduler=[STEPS | dict(milestones=[40], by_epoch=False)]), "milestones: 40 of 40 updates"),
        (dict(param_scheduler=[dict(type="CosineAnnealingLR", T_max=2, begin=4)]), "[0].begin: 4 of 4 epochs"),
        (dict(train_cfg=dict(max_epochs=4, warmup_epochs=5)), "warmup_epochs: 5 of 4 epochs"),
        (dict(train_cfg=dict(max_epochs=4, val_interval=5)), "val_interval: 5 of 4 epochs: only the last"),
        (dict(checkpoint=dict(interval=5)), "checkpoint.interval: 5 of 4 epochs: nothing is saved before"),
        (dict(checkpoint=dict(interval_iterations=41)), "checkpoint.interval_iterations: 41 of 40 updates"),
        (dict(optim_wrapper=dict(accumulative_counts=41)), "optim_wrapper.accumulative_counts: 41 of 40 updates"),
        (dict(custom_hooks=[STOPS]), "custom_hooks[0].patience: 5 of 4 validations"),
        (dict(custom_hooks=[STOPS | dict(patience=3)]), "custom_hooks[0].patience: 3 of 4 validations"),
        (dict(custom_hooks=[AVERAGES | dict(interval=40)]), "custom_hooks[0].interval: 40 of 39 updates: averages"),
        (dict(custom_hooks=[AVERAGES | dict(interval=2, begin_iter=39)]), "interval: 2 of 1 updates"),
        (dict(custom_hooks=[AVERAGES | dict(interval=10, begin_epoch=4)]), "as they are after update 31"),
    ],
)
def test_what_the_training_ends_before_is_said(parts, said):
    (line,) = never_comes(config(**parts), 10)
    assert said in line


@pytest.mark.parametrize(
    "parts",
    [
        dict(),
        dict(param_scheduler=None),
        dict(param_scheduler=[STEPS | dict(milestones=[2, 3])]),
        dict(param_scheduler=[STEPS | dict(milestones=[1], begin=2)]),
        dict(param_scheduler=[STEPS | dict(milestones=[39], by_epoch=False)]),
        dict(train_cfg=dict(max_epochs=4, warmup_epochs=4, val_interval=4)),
        dict(checkpoint=dict(interval=4, interval_iterations=40)),
        dict(checkpoint=dict(interval_iterations=None)),
        dict(custom_hooks=[STOPS | dict(patience=2), AVERAGES]),
        dict(custom_hooks=[AVERAGES | dict(interval=39)]),
        dict(custom_hooks=[AVERAGES | dict(interval=9, begin_epoch=4)]),
        dict(custom_hooks=[STOPS | dict(stopping_threshold=0.9)]),
    ],
)
def test_what_it_comes_to_is_not(parts):
    assert list(never_comes(config(**parts), 10)) == []


def test_a_training_says_it_when_it_begins_and_runs(tiny_config, tmp_path):
    tiny_config["param_scheduler"] = [STEPS | dict(milestones=[1, 7])]
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    said = []
    runner.warn = said.append
    runner.train()
    assert said[0] == "param_scheduler[0].milestones: 7 of 3 epochs: never comes"


def test_a_milestone_after_as_many_epochs_as_there_are_changes_no_update(tiny_config, tmp_path):
    """What counts as never: the rate of the last update is that of a schedule without the milestone."""
    rates = []
    for milestone in (2, 3):
        tiny_config["param_scheduler"] = [STEPS | dict(milestones=[milestone])]
        runner = build_runner(tiny_config, work_dir=tmp_path / str(milestone), device="cpu")
        step = runner.model.train_step

        def note(*args, runner=runner, step=step, **kwargs):
            rates.append(runner.optim_wrapper.get_lr()["lr"][0])
            return step(*args, **kwargs)

        runner.model.train_step = note
        runner.train()
    assert rates[17] == pytest.approx(1e-4)
    assert rates[35] == pytest.approx(1e-3)
