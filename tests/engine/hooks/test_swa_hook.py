"""The averaged weights are the mean of the last epochs', with BatchNorm's statistics of the averaged network."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from metricforge import build_runner
from metricforge.engine.hooks.swa_hook import SWAHook
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError

SWA = dict(type="SWAHook", begin=0.5)


@pytest.fixture
def config(tiny_config):
    return tiny_config | dict(
        train_cfg=dict(max_epochs=4, log_interval=2), custom_hooks=[SWA], checkpoint=dict(interval=1, max_keep=9)
    )


def train(config, folder, resume=False):
    runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
    runner.train()
    return runner


def trained_weights(checkpoint):
    averaged = checkpoint.get("ema_state_dict")
    if averaged is None:
        return checkpoint["state_dict"]
    return {name.removeprefix("module."): value for name, value in averaged.items() if name != "steps"}


def test_the_weights_that_are_scored_are_the_mean_of_the_last_epochs(config, tmp_path):
    train(config, tmp_path)
    files = [load_checkpoint(tmp_path / f"iter_{6 * epoch}.pth") for epoch in (1, 2, 3, 4)]
    third, fourth = (trained_weights(file) for file in files[2:])
    names = [name for name in third if name.endswith(("weight", "bias"))]
    for name in names:
        torch.testing.assert_close(files[3]["state_dict"][name], (third[name] + fourth[name]) / 2)
        assert torch.equal(files[2]["state_dict"][name], third[name]), "the mean of one"
    assert "ema_state_dict" not in files[1], "nothing is averaged in the first half"
    choice = json.loads((tmp_path / "scores.json").read_text())["protocol"]["choice"]
    assert choice["averaged"] is True


def test_batch_norm_has_the_statistics_of_the_averaged_network(config, tmp_path):
    config["model"]["head"]["dropout"] = 0.0
    config["train_dataloader"]["dataset"]["transform"] = [dict(type="CenterCrop", size=16)]
    runner = train(config, tmp_path)
    state = load_checkpoint(tmp_path / "iter_24.pth")["state_dict"]
    runner.model.load_state_dict(state)
    (first, *_) = [m for m in runner.model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    seen = []
    first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].double()))
    runner.train_dataloader.batch_sampler.set_position(3, 0)
    with torch.no_grad():
        for batch in runner.train_dataloader:
            runner.model.embed(batch["image"])
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen]).mean(dim=0)
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in seen]).mean(dim=0)
    torch.testing.assert_close(first.running_mean.double(), means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var.double(), variances, rtol=1e-4, atol=1e-5)


def test_a_frozen_batch_norm_keeps_its_statistics(config, tmp_path):
    config["model"]["backbone"] = dict(type="TimmBackbone", name="test_resnet", frozen_batch_norm=True)
    for loader in ("train_dataloader", "test_dataloader"):
        config[loader]["dataset"]["transform"] = [dict(type="Resize", size=32), dict(type="CenterCrop", size=32)]
    config["train_cfg"]["max_epochs"] = 2
    before = build_runner(config, work_dir=tmp_path / "built", device="cpu").model.state_dict()
    train(config, tmp_path / "run")
    after = load_checkpoint(tmp_path / "run" / "iter_12.pth")["state_dict"]
    kept = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)


def test_a_resumed_run_averages_as_one_that_was_not_stopped(config, tmp_path):
    whole = train(config, tmp_path)
    expected = load_checkpoint(tmp_path / "iter_24.pth")
    for epochs in ((4,), (3, 4), (2, 3, 4)):  # after, at and before the first averaged epoch
        for epoch in epochs:
            (tmp_path / f"iter_{6 * epoch}.pth").unlink(missing_ok=True)
        again = train(config, tmp_path, resume=True)
        found = load_checkpoint(tmp_path / "iter_24.pth")
        for part in ("state_dict", "ema_state_dict"):
            assert all(torch.equal(value, found[part][name]) for name, value in expected[part].items())
        assert again.last_scores == whole.last_scores
    tested = build_runner(config | dict(custom_hooks=[]), checkpoint=tmp_path / "iter_24.pth", device="cpu")
    assert tested.test() == whole.last_scores
    assert tested.scored.averaged_by == "SWAHook"


@pytest.mark.parametrize("begin", [1.0, -0.1])
def test_a_share_that_leaves_no_epoch_is_refused(begin):
    with pytest.raises(ValueError, match="begin must be a share"):
        SWAHook(begin=begin)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(custom_hooks=[SWA, dict(type="EMAHook")]), "custom_hooks: SWAHook and EMAHook would each"),
        (dict(train_cfg=dict(max_epochs=4, max_minutes=1.0)), "SWAHook averages the last epochs"),
    ],
)
def test_what_does_not_go_with_averaging_is_refused(config, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_runner(config | changes, work_dir=tmp_path, device="cpu")
