from __future__ import annotations

import pytest
import torch

from metricforge import LossOutput, build_runner
from metricforge.errors import ConfigError
from metricforge.losses import TripletLoss


def train(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    return runner.model.state_dict()


def test_a_component_without_a_deterministic_kernel_is_named(tiny_config, tmp_path, monkeypatch):
    def puts(self, embeddings, labels, tuples=None, similarity=None):
        embeddings.detach().clone().put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # the last to write wins
        return LossOutput(embeddings.square().mean())

    monkeypatch.setattr(TripletLoss, "forward", puts)
    tiny_config["deterministic"] = True
    with pytest.raises(ConfigError, match=r"deterministic: loss \(TripletLoss\) asks for .*put_.*take another"):
        train(tiny_config, tmp_path / "refused")
    assert not torch.are_deterministic_algorithms_enabled()
    tiny_config["deterministic"] = False
    train(tiny_config, tmp_path / "trained")


def test_on_a_cpu_the_weights_are_those_without_it(tiny_config, tmp_path):
    without = train(tiny_config, tmp_path / "1")
    enabled = []
    tiny_config["deterministic"] = True
    runner = build_runner(tiny_config, work_dir=tmp_path / "2", device="cpu")
    original = runner.model.train_step

    def step(*args, **kwargs):
        enabled.append(torch.are_deterministic_algorithms_enabled())
        return original(*args, **kwargs)

    runner.model.train_step = step
    runner.train()
    assert set(enabled) == {True}
    with_it = runner.model.state_dict()
    assert [name for name in without if not torch.equal(without[name], with_it[name])] == []


def test_another_value_is_a_fault(tiny_config, tmp_path):
    tiny_config["deterministic"] = "yes"
    with pytest.raises(ConfigError, match="deterministic: 'yes' must be True or False"):
        train(tiny_config, tmp_path)
