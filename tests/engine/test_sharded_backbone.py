"""A backbone that is spread over the processes: it trains, is saved and is scored as a whole one."""

from __future__ import annotations

import io
from importlib.util import find_spec

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.distributed.tensor import DTensor

from metricforge import BACKBONES, build_runner
from metricforge.cli.parser import build_parser
from metricforge.cli.replay import replay
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.engine.records.culprit import read_culprit
from metricforge.errors import ConfigError, NonFiniteLossError
from metricforge.interfaces import Backbone
from metricforge.models.own_rows import own_rows
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.testing import run_in_processes
from tests.cut_training import cut_after


@BACKBONES.register_module(force=True)
class BlocksForSharding(Backbone):
    """Three blocks of unequal weights, the number of whose rows two and three processes do not divide."""

    feature_dim = 5
    norm_mean, norm_std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 7, 4, stride=4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(7, 11), nn.GELU(), nn.Linear(11, 7)) for _ in range(3)])
        self.shift = nn.Parameter(torch.zeros(1))  # one row: the other processes hold none
        self.last = nn.Linear(7, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)  # (B, T, 7)
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.last(tokens.mean(dim=1)) + self.shift  # (B, 5)


@pytest.fixture
def config(tiny_config):
    """Without dropout, which differs with the number of processes; two share five batches of test images unevenly."""
    tiny_config["model"]["backbone"] = dict(type="BlocksForSharding")
    tiny_config["model"]["head"] = dict(type="EmbeddingHead", dim=8)
    tiny_config["train_dataloader"]["sampler"] = dict(type="RandomBatchSampler", batch_size=6)
    tiny_config["test_dataloader"]["batch_size"] = 5
    tiny_config["train_cfg"] |= dict(shard_backbone=True)
    tiny_config["checkpoint"] = dict(interval_iterations=3, save_best=None)
    return tiny_config


def train(config, folder, stop_after=None, **arguments):
    """Scores, and how many weights and values of the optimizer's state this process holds of the backbone."""
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    if stop_after is not None:
        cut_after(runner, stop_after)
        return {}, 0, 0
    runner.train()
    local = [p.to_local() if isinstance(p, DTensor) else p for p in runner.model.backbone.parameters()]
    kept = [runner.optim_wrapper.optimizer.state[p]["exp_avg"] for p in runner.model.backbone.parameters()]
    state = [value.to_local() if isinstance(value, DTensor) else value for value in kept]
    return runner.last_scores, sum(p.numel() for p in local), sum(value.numel() for value in state)


def resume(config, folder, stop_after=None):
    return train(config, folder, stop_after, resume=True)


def newest(folder):
    return load_checkpoint(checkpoint_files(folder)[0])


def assert_close(found, wanted):
    """Weights and the optimizer's state, by the difference that docs/reliability.md states."""
    assert found["state_dict"].keys() == wanted["state_dict"].keys()
    pairs = [(found["state_dict"][name], weight) for name, weight in wanted["state_dict"].items()]
    pairs += [
        (found["optimizer"]["state"][number][key], value)
        for number, state in wanted["optimizer"]["state"].items()
        for key, value in state.items()
    ]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_two_processes_train_and_score_what_one_does_and_hold_half_each(config, tmp_path):
    scores, weights, _ = train(config, tmp_path / "1")
    found = run_in_processes(train, 2, config, tmp_path / "2")
    for its_scores, held, state in found:
        assert its_scores == pytest.approx(scores, abs=1e-6)
        assert abs(held - weights / 2) < 0.1 * weights
        assert state == held
    assert sum(held for _, held, _ in found) == weights
    assert_close(newest(tmp_path / "2"), newest(tmp_path / "1"))
    untrained = build_runner(config, work_dir=tmp_path / "0", device="cpu").model.state_dict()
    moved = newest(tmp_path / "2")["state_dict"]["backbone.blocks.1.0.weight"]
    assert not torch.allclose(untrained["backbone.blocks.1.0.weight"], moved, atol=1e-3)


def test_gradients_clipped_by_value_are_those_of_one_process(config, tmp_path):
    config["optim_wrapper"]["clip_grad"] = dict(type="value", clip_value=1e-3)
    config["train_cfg"] |= dict(max_epochs=1, val_interval=0)
    train(config, tmp_path / "1")
    run_in_processes(train, 2, config, tmp_path / "2")
    assert_close(newest(tmp_path / "2"), newest(tmp_path / "1"))


@pytest.mark.slow
def test_a_checkpoint_of_two_is_taken_up_by_two_bit_for_bit_and_by_one_and_three(config, tmp_path):
    run_in_processes(train, 2, config, tmp_path / "whole")
    whole = newest(tmp_path / "whole")
    for count in (1, 2, 3):
        folder = tmp_path / f"cut{count}"
        run_in_processes(train, 2, config, folder, 7)
        assert checkpoint_files(folder)[0].name == "iter_6.pth"
        run_in_processes(resume, count, config, folder)
        assert_close(newest(folder), whole)
        if count == 2:
            for name, weight in whole["state_dict"].items():
                assert torch.equal(newest(folder)["state_dict"][name], weight), name
    # and one process scores it as those that trained did
    scores = build_runner(config, checkpoint=checkpoint_files(tmp_path / "whole")[0], device="cpu").test()
    assert scores == pytest.approx(run_in_processes(resume, 2, config, tmp_path / "cut2")[0][0], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(train_cfg=dict(compile=True)), "train_cfg.shard_backbone: compile is set"),
        (dict(train_cfg=dict(chunk=2)), "train_cfg.shard_backbone: chunk is set"),
        (dict(train_cfg=dict(sync_batch_norm=True)), "train_cfg.shard_backbone: sync_batch_norm is set"),
        (dict(train_cfg=dict(precision="fp16")), "train_cfg.shard_backbone: precision is 'fp16'"),
        (dict(custom_hooks=[dict(type="EMAHook")]), "train_cfg.shard_backbone: custom_hooks has EMAHook"),
        (dict(readout=dict()), "train_cfg.shard_backbone: readout is set"),
    ],
)
def test_what_it_cannot_do_is_a_fault_of_the_config(config, tmp_path, change, message):
    for key, value in change.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        build_runner(config, work_dir=tmp_path, device="cpu")


def refused(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu")
    with pytest.raises(ConfigError) as caught:
        runner.train()
    return str(caught.value), runner.iter


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="TorchAdafactor"),
        pytest.param(
            dict(type="Adafactor", lr=1e-3, relative_step=False),
            marks=pytest.mark.skipif(find_spec("transformers") is None, reason="it is one of transformers"),
        ),
    ],
)
def test_an_optimizer_that_cannot_step_sharded_and_complete_weights_is_refused_before_training(
    config, tmp_path, optimizer
):
    config["optim_wrapper"]["optimizer"] = optimizer
    for said, updates in run_in_processes(refused, 2, config, tmp_path):
        assert "optim_wrapper.optimizer: " in said
        assert said.endswith("; with train_cfg.shard_backbone take SGD, Adam or AdamW")
        assert updates == 0


def train_with_a_fault_of_process_1(config, folder, what):
    runner = build_runner(config, work_dir=folder, device="cpu")
    original = runner.model.train_step

    def step(*args, **kwargs):
        outputs = original(*args, **kwargs)
        if runner.iter == 4 and runner.processes.rank == 1:
            if what == "gradient":
                runner.model.largest_gradient = torch.tensor(torch.inf)
            else:
                own_rows(runner.model.backbone.blocks[1][0].weight.detach())[0, 0] = torch.nan
        return outputs

    runner.model.train_step = step
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    return str(caught.value)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("gradient", "the largest gradient became inf at epoch 2, iteration 5 (loss 0."),
        ("weight", "backbone.blocks.1.0.weight is not finite after epoch 2, iteration 5, although the losses are."),
    ],
)
def test_what_is_not_finite_in_the_rows_of_one_process_ends_all_and_saves_the_batch(config, tmp_path, what, says):
    config["checkpoint"] |= dict(interval_iterations=5)
    found = run_in_processes(train_with_a_fault_of_process_1, 2, config, tmp_path, what)
    assert [said.startswith(says) for said in found] == [True, True], found
    assert len(read_culprit(tmp_path / "not_finite_5.pt").ids) == 6
    assert str(tmp_path / "not_finite_5.pt") in found[0]


def train_until_it_fails(config, folder):
    with pytest.raises(NonFiniteLossError):
        build_runner(config, work_dir=folder, device="cpu").train()


def replayed(script, culprit):
    console = Console(file=io.StringIO())
    replay(build_parser().parse_args(["train", str(script), "--device", "cpu", "--replay", str(culprit)]), console)
    return console.file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_the_batch_that_ended_a_run_of_two_is_repeated_by_two_bit_for_bit_and_by_one(config, tmp_path, sharded):
    config["optim_wrapper"]["optimizer"] = dict(type="SGD", lr=1e18)
    config["train_cfg"]["max_epochs"] = 40
    config["model"]["head"] |= dict(l2_normalize=False)
    config["checkpoint"] |= dict(interval_iterations=1, sharded=sharded)
    run_in_processes(train_until_it_fails, 2, config, tmp_path)
    culprit = next(tmp_path.glob("not_finite_*.pt"))
    script = next(tmp_path.glob("*.py"))
    assert checkpoint_files(tmp_path), "the replay begins from a checkpoint"
    for said in run_in_processes(replayed, 2, script, culprit):
        assert "repeated: the same, bit for bit: " in said, said
        assert "not finite first in the forward pass: " in said
    assert "repeated: " in run_in_processes(replayed, 1, script, culprit)[0]
