"""A run with a time budget ends in time, with its schedules at their end, and is resumed exactly."""

from __future__ import annotations

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.hooks.time_budget_hook import TimeBudgetHook
from metricforge.engine.optim.gradient_watch import GradientWatch
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError
from metricforge.models import MetricLearner
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history


@pytest.fixture
def config(tiny_config, monkeypatch):
    """Nine epochs of six updates, of which the 25 seconds of a clock that each update advances by one let 24 happen."""

    class Ticking:
        now = 0.0

    def train_step(original):
        def step(*args, **kwargs):
            Ticking.now += 1.0
            return original(*args, **kwargs)

        return step

    monkeypatch.setattr(MetricLearner, "train_step", train_step(MetricLearner.train_step))
    monkeypatch.setattr(TimeBudgetHook, "clock", staticmethod(lambda: Ticking.now))
    return tiny_config | dict(
        train_cfg=dict(max_epochs=9, log_interval=2, max_minutes=25 / 60),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, begin=0, end=2, convert_to_iter_based=True),
            dict(type="CosineAnnealingLR", T_max=7, begin=2, end=9, convert_to_iter_based=True),
        ],
        checkpoint=dict(interval_iterations=5, max_keep=9),
    )


def train(config, folder, resume=False):
    runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
    runner.train()
    return runner


def rates_of(folder):
    return [(line["iteration"], line["lr"][0]) for line in read_history(folder) if "losses" in line]


def test_the_schedule_ends_with_the_time(config, tmp_path, capsys):
    runner = train(config, tmp_path)
    assert 22 <= runner.iter <= 25
    assert "of 9 epochs fit into" in capsys.readouterr().out
    rates = dict(rates_of(tmp_path))
    assert max(rates.values()) == pytest.approx(1e-3, rel=0.1), "the warm-up has ended"
    assert list(rates.values())[-1] < 1e-4, "and so has the cosine, nearly: it is the rate of the last update"
    assert runner.optim_wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-5)
    assert (tmp_path / "scores.json").exists()
    assert checkpoint_files(tmp_path)[0].name == f"iter_{runner.iter}.pth"


def test_a_schedule_by_epochs_follows_too(config, tmp_path):
    config["param_scheduler"] = [dict(type="StepLR", step_size=3, gamma=0.1)]
    train(config, tmp_path)
    assert len({round(rate, 12) for _, rate in rates_of(tmp_path)}) == 3, "1e-3, 1e-4 and 1e-5, as in nine epochs"


def test_parameters_are_judged_after_a_whole_epoch_alone(config, tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(GradientWatch, "report", lambda watch: judged.append(watch) or "")
    config["train_cfg"]["max_minutes"] = 4 / 60  # of the six updates of an epoch
    runner = train(config, tmp_path / "short")
    assert 0 < runner.iter < 6
    assert judged == []
    config["train_cfg"]["max_minutes"] = 15 / 60
    train(config, tmp_path / "long")
    assert len(judged) == 1


@pytest.mark.parametrize("kept", [5, 15])
def test_a_resumed_run_has_the_weights_and_rates_of_one_that_was_not_stopped(config, tmp_path, kept):
    whole = train(config, tmp_path / "whole")
    expected = load_checkpoint(tmp_path / "whole" / f"iter_{whole.iter}.pth")
    rates = rates_of(tmp_path / "whole")
    for file in checkpoint_files(tmp_path / "whole"):
        if int(file.stem.removeprefix("iter_")) > kept:
            file.unlink()
    again = train(config, tmp_path / "whole", resume=True)
    assert again.iter == whole.iter
    found = load_checkpoint(tmp_path / "whole" / f"iter_{whole.iter}.pth")
    assert all(torch.equal(value, found["state_dict"][name]) for name, value in expected["state_dict"].items())
    assert found["param_schedulers"] == expected["param_schedulers"]
    assert dict(rates_of(tmp_path / "whole")) == dict(rates)


def test_a_finished_run_that_is_resumed_trains_no_further(config, tmp_path):
    whole = train(config, tmp_path)
    assert train(config, tmp_path, resume=True).iter == whole.iter


def test_a_time_that_suffices_changes_nothing(config, tmp_path):
    config["train_cfg"]["max_epochs"] = 3
    config["param_scheduler"] = config["param_scheduler"][:1]
    train(config, tmp_path / "limited")
    config["train_cfg"]["max_minutes"] = None
    train(config, tmp_path / "free")
    one, other = (load_checkpoint(tmp_path / name / "iter_18.pth") for name in ("limited", "free"))
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


def test_the_backbone_s_warm_up_is_shortened_with_the_schedule(config, tmp_path):
    config["train_cfg"]["warmup_epochs"] = 5
    before = build_runner(config, work_dir=tmp_path / "built", device="cpu").model.state_dict()
    after = train(config, tmp_path / "run").model.state_dict()
    assert not torch.equal(before["backbone.layers.0.weight"], after["backbone.layers.0.weight"])


@pytest.mark.parametrize("minutes", [0, -1.0, float("inf")])
def test_a_time_that_is_none_is_refused(tiny_config, tmp_path, minutes):
    tiny_config["train_cfg"]["max_minutes"] = minutes
    with pytest.raises(ConfigError, match=r"train_cfg.max_minutes: .* must be (above 0|a number)"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")
